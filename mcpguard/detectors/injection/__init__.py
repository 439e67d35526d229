"""Injected instructions in text: what they look like, with a score, where, and why.

`scan` is the way in. `normal` undoes disguises and knows the way back to the text as it is; `lexicon` has the
words, `phrases` the phrases, `vocabulary` all that a text's words are looked up for; `signals` the rules over
words; `markup` those over phrases, forged roles, links and hidden characters.
"""
