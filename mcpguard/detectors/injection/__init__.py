"""Injected instructions in text: what they look like, with a score, where, and why.

`scan` is the way in. `normal` undoes disguises and knows the way back to the text as it is; `lexicon` has the
words, `phrases` the phrases, `vocabulary` all that a text's words are looked up for. `rules` says which words
together are an order, and `signals` looks for them; `markup` looks for phrases, forged roles, links and
hidden characters; `mention` tells an order from one that is only spoken of.
"""
