#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""TGSP once more, from docs/tgsp.md and apart from lib/tgsp: opens packages and makes them.

reference.py open PACKAGE KEY.key SIGNER.pub FOLDER
reference.py pack FOLDER PACKAGE SIGNER.key RECIPIENT.pub
reference.py manifest PACKAGE              writes the encoded manifest to standard output
reference.py payload DOCUMENT              writes what a signed document signs
"""
import hashlib
import hmac
import os
import sys
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

MAGIC = b"TGSP\x00\x01\r\n"
CONTENT_TYPE = "application/vnd.tensorguard.tgsp-manifest"


class Bad(Exception):
    """A package that is not one."""


def need(condition, why):
    if not condition:
        raise Bad(why)


# CBOR: encoding is deterministic, and decoding accepts only what encodes to the same bytes.


class Tag:
    def __init__(self, number, value):
        self.number, self.value = number, value


def head(major, value):
    for info, size, limit in ((None, 0, 24), (24, 1, 1 << 8), (25, 2, 1 << 16), (26, 4, 1 << 32), (27, 8, 1 << 64)):
        if value < limit:
            return bytes([major << 5 | (info or value)]) + (value.to_bytes(size, "big") if size else b"")
    raise ValueError(value)


def encode(item):
    if item is False or item is True or item is None:
        return {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[item]
    if isinstance(item, int):
        return head(0, item) if item >= 0 else head(1, -1 - item)
    if isinstance(item, bytes):
        return head(2, len(item)) + item
    if isinstance(item, str):
        return head(3, len(item.encode())) + item.encode()
    if isinstance(item, list):
        return head(4, len(item)) + b"".join(map(encode, item))
    if isinstance(item, dict):
        pairs = sorted((encode(k), encode(v)) for k, v in item.items())
        return head(5, len(pairs)) + b"".join(k + v for k, v in pairs)
    if isinstance(item, Tag):
        return head(6, item.number) + encode(item.value)
    raise TypeError(type(item))


def decode_at(data, at):
    major, info = data[at] >> 5, data[at] & 31
    at += 1
    if major == 7:
        need(info in (20, 21, 22), "simple value")
        return {20: False, 21: True, 22: None}[info], at
    need(info < 28, "indefinite")
    size = 0 if info < 24 else 1 << info - 24
    value = int.from_bytes(data[at:at + size], "big") if size else info
    at += size
    if major == 0:
        return value, at
    if major == 1:
        return -1 - value, at
    if major in (2, 3):
        need(value <= len(data) - at, "length")
        text = data[at:at + value]
        return (text if major == 2 else text.decode()), at + value
    if major == 6:
        inner, at = decode_at(data, at)
        return Tag(value, inner), at
    need(value <= len(data) - at, "count")
    items = []
    for _ in range(value * (2 if major == 5 else 1)):
        item, at = decode_at(data, at)
        items.append(item)
    return (items if major == 4 else dict(zip(items[::2], items[1::2]))), at


def decode(data):
    try:
        item, at = decode_at(data, 0)
    except IndexError:
        raise Bad("cut")
    need(at == len(data) and encode(item) == data, "not deterministic")
    return item


def sha256(data):
    return hashlib.sha256(data).digest()


def expand(hash_, key, info, length):
    return HKDFExpand(algorithm=hash_, length=length, info=info).derive(key)


def spki(public):
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def point_of(public):
    return public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


# Signatures.


def signed_bytes(body, signer, payload):
    return encode(["Signature", body, signer, b"", payload])


def verify(public, body, signature, payload):
    signer, unprotected, raw = signature
    need(unprotected == {} and len(raw) == 64, "signature")
    header = decode(signer)
    need(set(header) == {1, 4} and header[4] == sha256(spki(public)), "signer")
    data = signed_bytes(body, signer, payload)
    if header[1] == -8:
        public.verify(raw, data)
    else:
        need(header[1] == -7, "algorithm")
        der = utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        public.verify(der, data, ec.ECDSA(hashes.SHA256()))


def sign(private, payload):
    body = encode({3: CONTENT_TYPE})
    edwards = isinstance(private, ed25519.Ed25519PrivateKey)
    signer = encode({1: -8 if edwards else -7, 4: sha256(spki(private.public_key()))})
    data = signed_bytes(body, signer, payload)
    if edwards:
        raw = private.sign(data)
    else:
        r, s = utils.decode_dss_signature(private.sign(data, ec.ECDSA(hashes.SHA256())))
        raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return Tag(98, [body, {}, payload, [[signer, {}, raw]]])


# HPKE, base mode, with hmac and hashlib alone.


def labelled_extract(suite, salt, label, ikm):
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")


def labelled_expand(suite, key, label, info, length):
    return expand(hashes.SHA256(), key, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info, length)


def hpke(secret_x, enc, receiver, info):
    kem, suite = b"KEM\x00\x10", b"HPKE\x00\x10\x00\x01\x00\x03"
    shared = labelled_expand(kem, labelled_extract(kem, b"", b"eae_prk", secret_x), b"shared_secret", enc + receiver, 32)
    context = b"\x00" + labelled_extract(suite, b"", b"psk_id_hash", b"") + labelled_extract(suite, b"", b"info_hash", info)
    secret = labelled_extract(suite, shared, b"secret", b"")
    return (ChaCha20Poly1305(labelled_expand(suite, secret, b"key", context, 32)),
            labelled_expand(suite, secret, b"base_nonce", context, 12))


# FLOE.


class Floe:
    def __init__(self, key, aad, header, segment):
        self.prefix, self.aad, self.segment = header[:42], aad, segment
        need(header[:10] == b"\x00\x00" + segment.to_bytes(4, "big") + (32).to_bytes(4, "big"), "FLOE parameters")
        self.tag = self.kdf(key, b"HEADER_TAG:", 32)
        self.message_key = self.kdf(key, b"MESSAGE_KEY:", 48)

    def kdf(self, key, purpose, length):
        return expand(hashes.SHA384(), key, self.prefix + purpose + self.aad, length)

    def cipher(self, position):
        return AESGCM(self.kdf(self.message_key, b"DEK:" + (position >> 20 << 20).to_bytes(8, "big"), 32))

    def open(self, position, last, text):
        need(int.from_bytes(text[:4], "big") == (len(text) if last else 0xffffffff), "segment length")
        return self.cipher(position).decrypt(text[4:16], text[16:], position.to_bytes(8, "big") + bytes([last]))

    def seal(self, position, last, plain):
        iv = os.urandom(12)
        length = (len(plain) + 32 if last else 0xffffffff).to_bytes(4, "big")
        return length + iv + self.cipher(position).encrypt(iv, plain, position.to_bytes(8, "big") + bytes([last]))


def merkle(leaves):
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + merkle(leaves[:k]) + merkle(leaves[k:]))


def payload_aad(manifest):
    bare = {k: v for k, v in manifest.items() if k >= 0}
    bare[11] = dict(manifest[11])
    bare[11][2] = bare[11][3] = b""
    return sha256(encode(bare))


def recipients_mac(key, manifest_hash, recipients):
    mac_key = expand(hashes.SHA256(), key, b"tgsp/v1 recipients" + manifest_hash, 32)
    return hmac.digest(mac_key, encode(recipients), "sha256")


def check_path(path):
    need(0 < len(path.encode()) <= 255 and "\\" not in path and all(ord(c) >= 32 and c != "\x7f" for c in path), "path")
    need(all(part not in ("", ".", "..") for part in path.split("/")), "path")


def split(package):
    need(package[:8] == MAGIC, "magic")
    length = int.from_bytes(package[8:12], "big")
    need(0 < length <= 1 << 20 and 12 + length <= len(package), "envelope length")
    start = (12 + length + 4095) // 4096 * 4096
    need(not any(package[12 + length:start]), "padding")
    return decode(package[12:12 + length]), package[start:]


def unwrap(envelope, manifest_hash, private):
    recipients, mac = envelope[1:]
    receiver = point_of(private.public_key())
    for ident, suite, enc, wrapped in recipients:
        if ident != sha256(spki(private.public_key())):
            continue
        need(suite == 1, "suite")
        peer = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), enc)
        cipher, nonce = hpke(private.exchange(ec.ECDH(), peer), enc, receiver, b"tgsp/v1" + manifest_hash + ident)
        key = cipher.decrypt(nonce, wrapped, None)
        need(hmac.compare_digest(recipients_mac(key, manifest_hash, recipients), mac), "MAC of recipients")
        return key
    raise Bad("not a recipient")


def open_package(package, private, signer):
    envelope, body = split(package)
    tagged = envelope[0]
    need(isinstance(tagged, Tag) and tagged.number == 98, "not a COSE_Sign")
    protected, unprotected, encoded, signatures = tagged.value
    need(decode(protected) == {3: CONTENT_TYPE} and unprotected == {}, "header")
    need(len(signatures) == 1, "this implementation reads one signature")
    verify(signer, protected, signatures[0], encoded)
    manifest = decode(encoded)
    need(manifest[0] == 1 and manifest[6] <= time.time() < manifest[7], "format or times")
    need(manifest[8] == sha256(spki(signer)), "author")
    files, payload = manifest[10], manifest[11]
    need(payload[0] == 1, "suite")
    key = unwrap(envelope, sha256(encoded), private)
    floe = Floe(key, payload_aad(manifest), payload[2], payload[1])
    need(hmac.compare_digest(floe.tag, payload[2][42:]), "FLOE header")
    total = sum(f[1] for f in files)
    count = max(1, -(-total // (payload[1] - 32)))
    need(len(body) == total + 32 * count, "payload length")
    segments = [body[i * payload[1]:(i + 1) * payload[1]] for i in range(count)]
    need(merkle([sha256(b"\x00" + s) for s in segments]) == payload[3], "Merkle root")
    plain = b"".join(floe.open(i, i == count - 1, s) for i, s in enumerate(segments))
    result, at = {}, 0
    for f in files:
        check_path(f[0])
        result[f[0]] = plain[at:at + f[1]]
        at += f[1]
    return result


def make_package(files, private, recipient, segment=4096):
    now, key, iv = int(time.time()), os.urandom(32), os.urandom(32)
    names = sorted(files, key=lambda n: n.encode())
    manifest = {
        0: 1, 1: os.urandom(16), 2: "reference", 3: "1.0.0", 4: 1, 5: now, 6: now - 60, 7: now + 36500 * 86400,
        8: sha256(spki(private.public_key())),
        10: [{0: n, 1: len(files[n]), 2: sha256(files[n])} for n in names],
        11: {0: 1, 1: segment, 2: b"", 3: b""},
        12: {0: [], 1: "", 2: False, 3: [], 4: 0},
        13: {0: [], 1: ""},
        -1: "an extension",
    }
    prefix = b"\x00\x00" + segment.to_bytes(4, "big") + (32).to_bytes(4, "big") + iv
    floe = Floe(key, payload_aad(manifest), prefix, segment)
    plain = b"".join(files[n] for n in names)
    parts = [plain[i:i + segment - 32] for i in range(0, len(plain), segment - 32)] or [b""]
    segments = [floe.seal(i, i == len(parts) - 1, part) for i, part in enumerate(parts)]
    manifest[11][2] = prefix + floe.tag
    manifest[11][3] = merkle([sha256(b"\x00" + s) for s in segments])
    encoded = encode(manifest)
    ident, ephemeral = sha256(spki(recipient)), ec.generate_private_key(ec.SECP256R1())
    enc = point_of(ephemeral.public_key())
    cipher, nonce = hpke(ephemeral.exchange(ec.ECDH(), recipient), enc, point_of(recipient),
                         b"tgsp/v1" + sha256(encoded) + ident)
    recipients = [[ident, 1, enc, cipher.encrypt(nonce, key, None)]]
    envelope = encode([sign(private, encoded), recipients, recipients_mac(key, sha256(encoded), recipients)])
    front = MAGIC + len(envelope).to_bytes(4, "big") + envelope
    return front + bytes(-len(front) % 4096) + b"".join(segments)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def private_key(path):
    return serialization.load_pem_private_key(read(path), None)


def public_key(path):
    return serialization.load_pem_public_key(read(path))


def main(command, *args):
    if command == "open":
        package, key, signer, folder = args
        for name, content in open_package(read(package), private_key(key), public_key(signer)).items():
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as f:
                f.write(content)
    elif command == "pack":
        folder, package, signer, recipient = args
        files = {}
        for root, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(root, name)
                files[os.path.relpath(path, folder)] = read(path)
        with open(package, "wb") as f:
            f.write(make_package(files, private_key(signer), public_key(recipient)))
    elif command == "manifest":
        sys.stdout.buffer.write(split(read(args[0]))[0][0].value[2])
    elif command == "data-key":
        (envelope, _), private = split(read(args[0])), private_key(args[1])
        encoded = envelope[0].value[2]
        manifest, key = decode(encoded), unwrap(envelope, sha256(encoded), private)
        floe = Floe(key, payload_aad(manifest), manifest[11][2], manifest[11][1])
        print(key.hex(), floe.message_key.hex())
    elif command == "payload":
        sys.stdout.buffer.write(decode(read(args[0])).value[2])
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Bad as e:
        sys.exit(f"reference.py: {e}")
