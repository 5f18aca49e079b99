"""A plain django-oscar shop: a few products with stock, a flat shipping rate, payment on delivery, guests may buy."""
