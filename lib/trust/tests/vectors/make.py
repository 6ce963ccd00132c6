#!/usr/bin/env python3
"""Makes the signature vectors beside it: `python3 make.py`. Plain arithmetic and no library, the same bytes every time.

Each file has a kind of key and cases: a public key as metadata writes it, a message and a signature in hexadecimal, and
whether the key made it (`valid`). The wrong ones are those that careless verifiers take.
"""

import base64
import hashlib
import json
from pathlib import Path

HERE = Path(__file__).resolve().parent


def big(count, label):
    """A number of so many bytes that looks random and is always the same."""
    made = b""
    while len(made) < count:
        made += hashlib.sha256(f"{label} {len(made)}".encode()).digest()
    return int.from_bytes(made[:count], "big")


class File:
    """One kind of key and its cases."""

    def __init__(self, name, keytype, scheme):
        self.name, self.head, self.cases = name, {"keytype": keytype, "scheme": scheme}, []

    def add(self, comment, key, message, signature, valid=False):
        case = {"comment": comment, "key": key, "message": message.hex(), "signature": signature.hex(), "valid": valid}
        self.cases.append(case)

    def write(self):
        text = json.dumps({**self.head, "cases": self.cases}, indent=1)
        (HERE / f"{self.name}.json").write_text(text + "\n")
        print(f"{self.name}: {len(self.cases)} cases, {sum(case['valid'] for case in self.cases)} of them valid")


# ed25519, RFC 8032

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def edwards_add(a, b):
    (x1, y1), (x2, y2) = a, b
    product = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P
    return x, y


def edwards_mul(count, point):
    made = (0, 1)
    while count:
        if count & 1:
            made = edwards_add(made, point)
        point, count = edwards_add(point, point), count >> 1
    return made


def edwards_x(y, odd):
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P:
        return None
    return P - x if x % 2 != odd else x


def encode(point, y=None):
    x, canonical = point
    return ((canonical if y is None else y) | (x & 1) << 255).to_bytes(32, "little")


BASE_Y = 4 * pow(5, -1, P) % P
BASE = (edwards_x(BASE_Y, 0), BASE_Y)


def small_order():
    """The eight points whose order divides eight."""
    number = 2
    while True:
        x = edwards_x(number, 0)
        number += 1
        if x is None:
            continue
        point = edwards_mul(L, (x, number - 1))
        if edwards_mul(4, point) != (0, 1):
            return [edwards_mul(count, point) for count in range(8)]


def challenge(*parts):
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % L


def little(number):
    return number.to_bytes(32, "little")


def edwards_sign(secret, public, message):
    """A signature whose nonce depends on the message alone: for keys that guard nothing."""
    nonce = big(32, f"nonce {message.hex()}") % L
    commitment = encode(edwards_mul(nonce, BASE))
    return commitment + little((nonce + challenge(commitment, public, message) * secret) % L)


def ed25519():
    file = File("ed25519", "ed25519", "ed25519")
    torsion = small_order()
    secret = big(32, "ed25519") % L
    point = edwards_mul(secret, BASE)
    public = encode(point)

    def sign(message, public=public):
        return edwards_sign(secret, public, message)

    for message in (b"", b"a", b"\x00" * 64, bytes(range(256)) * 8):
        file.add("made by the key", public.hex(), message, sign(message), True)
    message = b"release 1.0.0"
    good = sign(message)
    wrong = {
        "nothing": b"",
        "all zero": bytes(64),
        "all ones": b"\xff" * 64,
        "a byte short": good[:-1],
        "a byte long": good + b"\0",
        "twice": good + good,
        "halves swapped": good[32:] + good[:32],
        "only R": good[:32] + bytes(32),
        "only S": bytes(32) + good[32:],
        "a bit of R": bytes([good[0] ^ 1]) + good[1:],
        "the sign of R": good[:31] + bytes([good[31] ^ 0x80]) + good[32:],
        "a bit of S": good[:32] + bytes([good[32] ^ 1]) + good[33:],
        "the highest bit of S": good[:63] + bytes([good[63] | 0x80]),
    }
    s = int.from_bytes(good[32:], "little")
    for count in range(1, 15):
        if s + count * L < 2**256:
            wrong[f"S and {count} times the order: another form of the same"] = good[:32] + little(s + count * L)
    wrong["the order itself for S"] = good[:32] + little(L)
    for comment, signature in wrong.items():
        file.add(comment, public.hex(), message, signature)
    file.add("of another message", public.hex(), b"release 1.0.1", good)
    other = edwards_mul(secret + 1, BASE)
    file.add("of another key", encode(other).hex(), message, good)
    file.add("a key of 31 bytes", public.hex()[2:], message, good)
    file.add("a key of 33 bytes", public.hex() + "00", message, good)
    file.add("a key that is no point", little(next(y for y in range(2, 99) if edwards_x(y, 0) is None)).hex(), message, good)

    # Keys of small order: with R as small and S = 0 the equation can hold for every message.
    encodings = [encode(one) for one in torsion]
    encodings += [encode(one, one[1] + P) for one in torsion if one[1] + P < 2**255]
    encodings += [little(1 | 1 << 255), little(P - 1 | 1 << 255), little(P + 1 | 1 << 255)]
    for number, key in enumerate(encodings):
        for count, commitment in enumerate(encodings[:8]):
            text = f"a key of small order ({number}), R of small order ({count}), S zero"
            file.add(text, key.hex(), message, commitment + bytes(32))
    # A good key, R of small order: the signer alone can make it, for one message only, but it is no proof of a nonce.
    for count, one in enumerate(torsion):
        commitment = encode(one)
        s = challenge(commitment, public, message) * secret % L
        file.add(f"R of small order ({count})", public.hex(), message, commitment + little(s))
    # A key with a part of small order verifies only where the equation is multiplied by eight.
    mixed = encode(edwards_add(point, torsion[1]))
    number = 0
    while True:
        text = f"message {number}".encode()
        signature = sign(text, public=mixed)
        if challenge(signature[:32], mixed, text) % 8:
            break
        number += 1
    file.add("a key with a part of small order, right only times eight", mixed.hex(), text, signature)
    commitment = encode(edwards_add(edwards_mul(7, BASE), torsion[1]))
    s = (7 + challenge(commitment, public, message) * secret) % L
    file.add("R with a part of small order, right only times eight", public.hex(), message, commitment + little(s))
    file.write()


# DER and PEM


def der(tag, *parts):
    body = b"".join(parts)
    size = len(body)
    head = bytes([size]) if size < 128 else (b"\x81" + bytes([size]) if size < 256 else b"\x82" + size.to_bytes(2, "big"))
    return bytes([tag]) + head + body


def der_int(number):
    return der(2, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def pem(content):
    return "-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(content).decode() + "-----END PUBLIC KEY-----\n"


# ECDSA on P-256, SEC 1

Q = 2**256 - 2**224 + 2**192 + 2**96 - 1
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
EC, P256, P384 = bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2b81040022")


def weierstrass_add(a, b):
    if a is None or b is None:
        return a or b
    (x1, y1), (x2, y2) = a, b
    if x1 == x2 and (y1 + y2) % Q == 0:
        return None
    slope = (3 * x1 * x1 - 3) * pow(2 * y1, -1, Q) if a == b else (y2 - y1) * pow(x2 - x1, -1, Q)
    x = (slope * slope - x1 - x2) % Q
    return x, (slope * (x1 - x) - y1) % Q


def weierstrass_mul(count, point):
    made = None
    while count:
        if count & 1:
            made = weierstrass_add(made, point)
        point, count = weierstrass_add(point, point), count >> 1
    return made


def ecdsa():
    file = File("ecdsa-p256", "ecdsa", "ecdsa-sha2-nistp256")
    secret = big(32, "ecdsa") % N
    x, y = weierstrass_mul(secret, G)

    def key(point, curve=P256, unused=0, after=b""):
        return pem(der(0x30, der(0x30, der(6, EC), der(6, curve)), der(3, bytes([unused]), point)) + after)

    def plain(x, y):
        return b"\4" + x.to_bytes(32, "big") + y.to_bytes(32, "big")

    def pair(r, s):
        return der(0x30, der_int(r), der_int(s))

    def sign(message, digest=hashlib.sha256):
        nonce = big(32, f"nonce {message.hex()}") % N
        number = int.from_bytes(digest(message).digest()[:32], "big")
        r = weierstrass_mul(nonce, G)[0] % N
        return r, (number + r * secret) * pow(nonce, -1, N) % N

    good_key = key(plain(x, y))
    for message in (b"", b"a", bytes(range(256)) * 8):
        file.add("made by the key", good_key, message, pair(*sign(message)), True)
    message = b"release 1.0.0"
    r, s = sign(message)
    # Right by the standard. It gives nobody anything: the same key counts once.
    file.add("the other S of the same", good_key, message, pair(r, N - s), True)
    good = pair(r, s)
    wrong = {
        "nothing": b"",
        "an empty sequence": der(0x30),
        "r and s zero": pair(0, 0),
        "r zero": pair(0, s),
        "s zero": pair(r, 0),
        "r one, s zero": pair(1, 0),
        "r the order": pair(N, s),
        "s the order": pair(r, N),
        "r and the order": pair(r + N, s),
        "s and the order": pair(r, s + N),
        "r the field": pair(Q, s),
        "r and s swapped": pair(s, r),
        "r negative": der(0x30, der(2, r.to_bytes(32, "big") if r >> 255 else b"\xff" + r.to_bytes(32, "big")), der_int(s)),
        "s with a zero before it": der(0x30, der_int(r), der(2, b"\0\0" + s.to_bytes(32, "big"))),
        "a length of two bytes where one is enough": b"\x30\x81" + good[1:],
        "an endless length": b"\x30\x80" + good[2:] + b"\0\0",
        "something after it": good + b"\0",
        "something in it": der(0x30, der_int(r), der_int(s), der(5)),
        "only r": der(0x30, der_int(r)),
        "a byte short": good[:-1],
        "the wrong tag": b"\x31" + good[1:],
        "an empty r": der(0x30, der(2), der_int(s)),
        "the plain form": r.to_bytes(32, "big") + s.to_bytes(32, "big"),
        "all zero": bytes(70),
    }
    for comment, signature in wrong.items():
        file.add(comment, good_key, message, signature)
    file.add("of another message", good_key, b"release 1.0.1", good)
    file.add("of the sha512", good_key, message, pair(*sign(message, hashlib.sha512)))
    ox, oy = weierstrass_mul(secret + 1, G)
    bad_keys = {
        "another key": key(plain(ox, oy)),
        "the opposite key": key(plain(x, Q - y)),
        "a point off the curve": key(plain(x, y ^ 1)),
        "a point beyond the field": key(plain(x + Q if x + Q < 2**256 else x, Q)),
        "the point at infinity": key(b"\0"),
        "a compressed point": key(bytes([2 + y % 2]) + x.to_bytes(32, "big")),
        "a hybrid point": key(bytes([6 + y % 2]) + plain(x, y)[1:]),
        "another curve's name": key(plain(x, y), P384),
        "unused bits": key(plain(x, y), unused=1),
        "something after the key": key(plain(x, y), after=b"\0"),
        "a compressed point in hexadecimal": (bytes([2 + y % 2]) + x.to_bytes(32, "big")).hex(),
        "a hybrid point in hexadecimal": (bytes([6 + y % 2]) + plain(x, y)[1:]).hex(),
        "a point in hexadecimal that is not on the curve": plain(x, y ^ 1).hex(),
        "a point in hexadecimal and something after it": plain(x, y).hex() + "00",
        "a private key's label": good_key.replace("PUBLIC", "PRIVATE"),
    }
    for comment, bad in bad_keys.items():
        file.add(comment, bad, message, good)
    file.add("the point in hexadecimal, as keys were written once", plain(x, y).hex(), message, good, valid=True)
    file.write()


# RSA-PSS, RFC 8017


def prime(bits, label):
    candidate = big(bits // 8, label) | 1 | 3 << (bits - 2)
    while not (candidate % 65537 != 1 and candidate % 3 != 1 and all(
        pow(base, candidate - 1, candidate) == 1 for base in (2, 3, 5, 7)
    )):
        candidate += 2
    return candidate


def mask(seed, length, digest):
    made = b""
    while len(made) < length:
        made += digest(seed + (len(made) // digest().digest_size).to_bytes(4, "big")).digest()
    return made[:length]


class Rsa:
    def __init__(self, bits, exponent=65537):
        p, q = prime(bits // 2, f"p {bits}"), prime(bits // 2, f"q {bits}")
        self.n, self.e, self.bits = p * q, exponent, bits
        self.d = pow(exponent, -1, (p - 1) * (q - 1)) if exponent > 1 else 1
        self.size = (self.n.bit_length() + 7) // 8

    def key(self, n=None, e=None):
        numbers = der(0x30, der_int(n or self.n), der_int(e or self.e))
        oid = der(6, bytes.fromhex("2a864886f70d010101"))
        return pem(der(0x30, der(0x30, oid, der(5)), der(3, b"\0", numbers)))

    def power(self, encoded):
        return pow(int.from_bytes(encoded, "big"), self.d, self.n).to_bytes(self.size, "big")

    def pss(self, message, salt=32, digest=hashlib.sha256, mgf=None, trailer=0xBC, padding=b"\0"):
        bits = self.n.bit_length() - 1
        length = (bits + 7) // 8
        salt = mask(b"salt" + message, salt, hashlib.sha256)
        hashed = digest(bytes(8) + digest(message).digest() + salt).digest()
        block = padding * (length - len(salt) - len(hashed) - 2) + b"\1" + salt
        masked = bytes(a ^ b for a, b in zip(block, mask(hashed, len(block), mgf or digest)))
        masked = bytes([masked[0] & (0xFF >> (8 * length - bits))]) + masked[1:]
        return self.power(masked + hashed + bytes([trailer]))

    def pkcs1(self, message):
        info = bytes.fromhex("3031300d060960864801650304020105000420") + hashlib.sha256(message).digest()
        return self.power(b"\0\1" + b"\xff" * (self.size - len(info) - 3) + b"\0" + info)


def rsa():
    file = File("rsa-pss", "rsa", "rsassa-pss-sha256")
    pair = Rsa(2048)
    public = pair.key()
    for message in (b"", b"a", bytes(range(256)) * 8):
        file.add("made by the key", public, message, pair.pss(message), True)
    message = b"release 1.0.0"
    good = pair.pss(message)
    number = int.from_bytes(good, "big")
    wrong = {
        "nothing": b"",
        "zero": bytes(256),
        "one": (1).to_bytes(256, "big"),
        "the modulus": pair.n.to_bytes(256, "big"),
        "the modulus less one": (pair.n - 1).to_bytes(256, "big"),
        "a byte short": good[:-1],
        "a byte long": good + b"\0",
        "a zero before it": b"\0" + good,
        "a flipped bit": good[:100] + bytes([good[100] ^ 1]) + good[101:],
        "the opposite": (pair.n - number).to_bytes(256, "big"),
        "no salt": pair.pss(message, salt=0),
        "a salt of 20 bytes": pair.pss(message, salt=20),
        "a salt of 64 bytes": pair.pss(message, salt=64),
        "sha1 for the mask": pair.pss(message, mgf=hashlib.sha1),
        "sha512": pair.pss(message, digest=hashlib.sha512),
        "another trailer": pair.pss(message, trailer=0xCC),
        "padding that is not zero": pair.pss(message, padding=b"\1"),
        "the padding of PKCS #1 v1.5": pair.pkcs1(message),
    }
    if number + pair.n < 2**2048:
        wrong["and the modulus: another form of the same"] = (number + pair.n).to_bytes(256, "big")
    for comment, signature in wrong.items():
        file.add(comment, public, message, signature)
    file.add("of another message", public, b"release 1.0.1", good)
    small = Rsa(1024)
    file.add("a key of 1024 bits", small.key(), message, small.pss(message))
    one = Rsa(2048, exponent=1)
    file.add("an exponent of one: anybody can sign", one.key(), message, one.pss(message))
    file.add("an even exponent", pair.key(e=65536), message, good)
    file.add("an even modulus", pair.key(n=pair.n - 1), message, good)
    file.add("another exponent", pair.key(e=3), message, good)
    file.write()


if __name__ == "__main__":
    ed25519()
    ecdsa()
    rsa()
