"""Secrets in text: tokens by their issuers' formats, and what keys, headers, URLs and PEM tell."""
