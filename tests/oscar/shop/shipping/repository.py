from decimal import Decimal

from oscar.apps.shipping import methods, repository


class Flat(methods.FixedPrice):
    code = "flat"
    name = "Flat rate"


class Repository(repository.Repository):
    methods = (Flat(Decimal("7.99"), Decimal("7.99")),)  # without and with tax
