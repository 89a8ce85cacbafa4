"""Loops: generators that yield Progress and know neither logs nor algorithms' names."""
