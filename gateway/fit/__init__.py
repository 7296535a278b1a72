"""`margingate fit`: parameters and learned models from price files, with what a person needs to judge them.

`study` what is fitted; `artifacts` files with their hashes, written and read back; `card` the model card.
"""
