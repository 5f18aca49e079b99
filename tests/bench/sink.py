"""An origin that reads bodies slowly, then answers 200: ``python sink.py PORT BYTES_A_SECOND``."""

import contextlib
import socket
import sys
import threading
import time


def sink(port: int, pace: int) -> None:
    """Listens for ever; one thread a connection."""

    def serve(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            pending = b""
            while True:
                while b"\r\n\r\n" not in pending:
                    if not (data := sock.recv(65536)):
                        return
                    pending += data
                head, _, pending = pending.partition(b"\r\n\r\n")
                fields = [line.partition(b":") for line in head.lower().split(b"\r\n")[1:]]
                length = int(next((value for name, _, value in fields if name == b"content-length"), b"0"))
                began, got = time.monotonic(), len(pending)
                while got < length and (data := sock.recv(65536)):
                    got += len(data)
                    if (ahead := got / pace - (time.monotonic() - began)) > 0:
                        time.sleep(ahead)
                pending = b""
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with socket.create_server(("127.0.0.1", port), backlog=64) as listening:
        while True:
            threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()


if __name__ == "__main__":
    sink(int(sys.argv[1]), int(sys.argv[2]))
