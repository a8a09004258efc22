"""An identity provider of one route: it gives a signed token to clients that know the password."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

KEY_ID = "tests"
ISSUER = "https://tokens.invalid"
AUDIENCE = "kafka"


class Tokens(NamedTuple):
    """Where tokens are given out, and the file of the keys by which a broker checks them."""

    endpoint: str
    keys: Path


def encode_part(value: bytes) -> str:
    """Return bytes as tokens have them."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def sign_token(key: rsa.RSAPrivateKey, user: str) -> str:
    """Return a token of a user, good for five minutes."""
    now = int(time.time())
    claims = {"sub": user, "iss": ISSUER, "aud": AUDIENCE, "scope": "kafka", "iat": now}
    parts = [{"alg": "RS256", "typ": "JWT", "kid": KEY_ID}, claims | {"exp": now + 300}]
    text = ".".join(encode_part(json.dumps(part).encode()) for part in parts)
    return f"{text}.{encode_part(key.sign(text.encode(), padding.PKCS1v15(), SHA256()))}"


def key_set(key: rsa.RSAPrivateKey) -> str:
    """Return the public key as a JSON Web Key Set."""
    numbers = key.public_key().public_numbers()
    modulus, exponent = (n.to_bytes((n.bit_length() + 7) // 8) for n in (numbers.n, numbers.e))
    public = {"n": encode_part(modulus), "e": encode_part(exponent)}
    return json.dumps({"keys": [{"kty": "RSA", "kid": KEY_ID, "alg": "RS256", **public}]})


@contextmanager
def token_endpoint(password: str, directory: Path) -> Iterator[Tokens]:
    """Provide tokens for every client with this password, for as long as the tests need it."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    keys = directory / "keys.json"
    keys.write_text(key_set(key))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            credentials = base64.b64decode(self.headers["Authorization"].removeprefix("Basic "))
            user, _, given = credentials.decode().partition(":")
            if given == password:
                answer, status = {"access_token": sign_token(key, user), "expires_in": 300}, 200
            else:
                answer, status = {"error": "invalid_client"}, 401
            body = json.dumps(answer | {"token_type": "Bearer"}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Tokens(f"http://127.0.0.1:{server.server_port}/token", keys)
        finally:
            server.shutdown()
            thread.join()
