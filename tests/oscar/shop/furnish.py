"""``OSCAR_DATA=DIR python -m shop.furnish PIECES``: make the database and put a few products on the shelf."""

import os
import sys
from decimal import Decimal

PRODUCTS = (("LANTERN", "Storm Lantern No. 5", "49.00"), ("MUG", "Enamel Mug", "12.50"))


def main(pieces: int) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
    import django

    django.setup()
    from django.core.management import call_command
    from oscar.apps.address.models import Country
    from oscar.apps.catalogue.categories import create_from_breadcrumbs
    from oscar.apps.catalogue.models import Product, ProductClass
    from oscar.apps.partner.models import Partner, StockRecord

    call_command("migrate", verbosity=0, interactive=False)
    Country.objects.get_or_create(
        iso_3166_1_a2="DE", defaults={"printable_name": "Germany", "name": "Germany", "is_shipping_country": True}
    )
    kind, _ = ProductClass.objects.get_or_create(name="Outdoors", defaults={"requires_shipping": True, "track_stock": True})
    category = create_from_breadcrumbs("Camp")
    partner, _ = Partner.objects.get_or_create(name="Pinecone")
    for sku, title, price in PRODUCTS:
        product, _ = Product.objects.get_or_create(upc=sku, defaults={"title": title, "product_class": kind})
        product.categories.add(category)
        StockRecord.objects.update_or_create(
            product=product,
            partner=partner,
            defaults={"partner_sku": sku, "price": Decimal(price), "price_currency": "EUR", "num_in_stock": pieces},
        )


if __name__ == "__main__":
    main(int(sys.argv[1]))
