"""What the demo shop sells. Prices are whole cents, so that sums are exact."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Review:
    stars: int  # 1 to 5
    author: str
    text: str


@dataclass(frozen=True, slots=True)
class Product:
    """``art`` names a drawing in ``templates/art.html``; ``hue`` colours it (degrees)."""

    id: str
    name: str
    price: int
    blurb: str
    art: str
    hue: int
    reviews: tuple[Review, ...] = ()
    goes_with: tuple[str, ...] = ()


PRODUCTS: dict[str, Product] = {
    product.id: product
    for product in (
        Product(
            "lantern",
            "Storm Lantern No. 5",
            4900,
            "One numbered run of hand-spun brass, made once a year. Everybody wants it on the same morning.",
            "lantern",
            38,
            (
                Review(5, "Ines", "Burned through a whole gale on the balcony and never flickered."),
                Review(5, "Olu", "Waited a year for this run. Worth the line."),
                Review(4, "Maren", "Beautiful. Heavier than it looks."),
            ),
            ("oil", "mug", "blanket"),
        ),
        Product(
            "mug",
            "Enamel Mug",
            1250,
            "Half a litre, two layers of enamel, a rim that survives the dishwasher.",
            "mug",
            205,
            (Review(5, "Tomasz", "Dropped it down a mountain. One chip."), Review(4, "Ada", "Big. Good.")),
            ("kettle", "lantern"),
        ),
        Product(
            "kettle",
            "Camp Kettle",
            3400,
            "Boils a litre in four minutes on a small stove; the handle stays cool.",
            "kettle",
            12,
            (Review(5, "Yuki", "The lid fits. That is rarer than you think."),),
            ("mug", "stove"),
        ),
        Product(
            "stove",
            "Folding Stove",
            5900,
            "Folds to the size of a paperback and burns twigs, pellets or spirit.",
            "stove",
            0,
            (Review(3, "Per", "Works well, but read the leaflet first."), Review(5, "Lena", "Tea in the snow.")),
            ("kettle", "oil"),
        ),
        Product(
            "blanket",
            "Wool Blanket",
            8900,
            "Two kilos of undyed wool from one valley. Warm when wet.",
            "blanket",
            150,
            (Review(5, "Grace", "The dog has taken it over. Buying a second one."),),
            ("lantern", "pillow"),
        ),
        Product(
            "pillow",
            "Travel Pillow",
            2700,
            "Buckwheat husks in a linen case; packs flat.",
            "pillow",
            275,
            (Review(4, "Noor", "Rustles a little, sleeps well."),),
            ("blanket",),
        ),
        Product(
            "oil",
            "Lamp Oil, 1 l",
            900,
            "Clean paraffin without a smell: some forty evenings.",
            "bottle",
            55,
            (Review(5, "Hanne", "No soot at all."),),
            ("lantern",),
        ),
        Product(
            "map",
            "Map of Quiet Places",
            1500,
            "Printed on cloth, 1:50 000, with every spring and bench.",
            "map",
            95,
            (Review(5, "Sam", "Found a bench I now consider mine."), Review(4, "Aylin", "Folds back the way it came!")),
            ("lantern", "blanket"),
        ),
    )
}


def find(query: str) -> list[Product]:
    """Products that have every word of ``query`` in their name or blurb; all of them for an empty query."""
    words = query.casefold().split()
    return [p for p in PRODUCTS.values() if all(word in f"{p.name} {p.blurb}".casefold() for word in words)]
