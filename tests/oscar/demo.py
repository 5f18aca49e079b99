"""``make demo-oscar``: a real django-oscar shop with the gate in front, until Ctrl-C."""

import asyncio
import sys
import tempfile
from pathlib import Path

from gate import config, logs
from gate.demo.processes import DidNotStart
from gate.demo.stage import CannotStart, pick_port
from gate.serve import StartError, Supervisor
from tests.oscar.running import OscarShop

CONFIG = """\
listen: 127.0.0.1:{gate}
operator: {{listen: "127.0.0.1:{operator}"}}
state: {state}
origin: {{servers: ["http://127.0.0.1:{shop}"]}}
rooms:
  checkout: {{match: [/checkout/**], rate: 30/minute, burst: 2, active: 3, session: 5m}}
brand: {{name: Oscar behind the gate}}
"""


def main() -> None:
    gate = pick_port(None, 8080, taken=set())
    operator = pick_port(None, 8081, taken={gate})
    port = pick_port(None, 9000, taken={gate, operator})
    with tempfile.TemporaryDirectory(prefix="gate-oscar-") as scratch:
        path = Path(scratch) / "gate.yaml"
        path.write_text(CONFIG.format(gate=gate, operator=operator, shop=port, state=Path(scratch) / "gate"))
        shop = OscarShop(Path(scratch) / "shop", port=port, pieces=50)
        try:
            print("Starting Oscar (the first time takes a moment) …", flush=True)
            shop.start()
            settings = config.load(path)
            logs.configure(settings.log)
            asyncio.run(Supervisor(path, settings).run(lambda supervisor: tell(supervisor, shop.url)))
        except KeyboardInterrupt:
            sys.exit(130)
        except (CannotStart, DidNotStart, StartError) as error:
            sys.exit(f"demo-oscar: {error}")
        finally:
            shop.stop()


def tell(supervisor: Supervisor, shop: str) -> None:
    print(
        f"""
Oscar, through the gate   http://{supervisor.settings.listen}   (put something into the basket and check out as a guest)
The operator's console    http://{supervisor.settings.operator.listen}   token: {supervisor.new_token}
Oscar itself              {shop}
Operators' commands       export GATE_CONFIG={supervisor.config_path}
Ctrl-C ends all of it.""",
        flush=True,
    )


if __name__ == "__main__":
    main()
