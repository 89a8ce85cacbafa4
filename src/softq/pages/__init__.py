"""`softq report`: runs side by side, as one HTML page that needs nothing else.

`runs` reads folders, `arms` pools their seeds, `numbers` says what is told of them,
`charts` draws, `sections` lays out; `page` writes it all down.
"""
