import threading
from pathlib import Path

import pytest

from gate.demo.warehouse import SoldOut, Warehouse


def place(warehouse: Warehouse, form: str, **cart: int) -> str:
    return warehouse.place(form, cart, name="Ann", email="ann@example.org", shipping=499).id


def test_the_last_piece_is_sold_once_however_many_reach_for_it(tmp_path: Path) -> None:
    stock = {"lantern": 5, "mug": 100}
    shops = [Warehouse(tmp_path / "shop.db", stock=stock) for _ in range(2)]  # two connections, as two processes would have
    sold: list[str] = []
    refused: list[str] = []

    def buy(number: int) -> None:
        try:
            sold.append(place(shops[number % 2], f"form-{number}", lantern=1, mug=1))
        except SoldOut as error:
            refused.append(error.product)

    threads = [threading.Thread(target=buy, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(sold), len(set(sold))) == (5, 5)
    assert refused == ["lantern"] * 15
    assert shops[0].stock() == {"lantern": 0, "mug": 95}
    assert shops[1].count_orders() == 5
    for warehouse in shops:
        warehouse.close()


def test_an_order_that_cannot_be_filled_takes_nothing(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "shop.db", stock={"lantern": 1, "mug": 1})
    with pytest.raises(SoldOut) as caught:
        place(warehouse, "form", lantern=1, mug=2)
    assert (caught.value.product, caught.value.left) == ("mug", 1)
    assert warehouse.stock() == {"lantern": 1, "mug": 1}
    assert warehouse.count_orders() == 0
    warehouse.close()


def test_a_form_sent_twice_is_one_order_and_survives_a_restart(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "shop.db", stock={"mug": 9})
    first = place(warehouse, "form", mug=2)
    assert place(warehouse, "form", mug=2) == first
    secret = warehouse.cookie_secret
    warehouse.close()
    again = Warehouse(tmp_path / "shop.db", stock={"mug": 9})
    assert again.stock() == {"mug": 7}
    assert again.cookie_secret == secret
    order = again.order(first)
    assert order is not None
    assert (order.total, dict(order.lines)) == (2 * 1250 + 499, {"mug": 2})
    assert again.order("none") is None
    again.close()
