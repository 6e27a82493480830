"""What every compressor promises, as properties that anybody's can be held to; and what one costs, as a card.

A property is a function of a compressor and a tile that raises `Broken`; tests give it tiles of their own.
"""
