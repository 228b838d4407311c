#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The ledger read by a second implementation, written from docs/audit.md and the C2SP documents alone.

verify_ledger.py ledger DIR VKEY [CHECKPOINT...]  checkpoint and tile/ as they were served; earlier checkpoints
verify_ledger.py proof DIR [VKEY]                 what `audit prove --out DIR` wrote
verify_ledger.py flip DIR VKEY [STEP]             changes every byte of every record, or of STEP bytes one, each alone: each
                                                  must be found
"""
import base64
import hashlib
import json
import os
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils


class Wrong(Exception):
    pass


def sha256(data):
    return hashlib.sha256(data).digest()


def leaf_hash(data):
    return sha256(b"\0" + data)


def node_hash(left, right):
    return sha256(b"\1" + left + right)


def unbase64(text):
    return base64.b64decode(text, validate=True)


# ---- the tree, by the definitions of RFC 6962, section 2.1 ----


def split(n):
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def mth(leaves):
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return node_hash(mth(leaves[:k]), mth(leaves[k:]))


def root_from_inclusion(index, size, leaf, proof):
    if size == 1:
        if proof:
            raise Wrong("the proof is too long")
        return leaf
    if not proof:
        raise Wrong("the proof is too short")
    k = split(size)
    if index < k:
        return node_hash(root_from_inclusion(index, k, leaf, proof[:-1]), proof[-1])
    return node_hash(proof[-1], root_from_inclusion(index - k, size - k, leaf, proof[:-1]))


def roots_from_consistency(old, new, whole, old_root, proof):
    """(root of the old tree, root of the new one), by SUBPROOF read backwards."""
    if old == new:
        if whole:
            return old_root, old_root
        return proof[0], proof[0]
    k = split(new)
    if old <= k:
        a, b = roots_from_consistency(old, k, whole, old_root, proof[:-1])
        return a, node_hash(b, proof[-1])
    a, b = roots_from_consistency(old - k, new - k, False, old_root, proof[:-1])
    return node_hash(proof[-1], a), node_hash(proof[-1], b)


# ---- notes ----


def parse_vkey(text):
    name, key_id, key = text.strip().split("+", 2)
    key = unbase64(key)
    if key[0] != 1 or len(key) != 33 or sha256(name.encode() + b"\n" + key)[:4].hex() != key_id:
        raise Wrong("not a key of a log")
    return name, key_id, ed25519.Ed25519PublicKey.from_public_bytes(key[1:])


def open_checkpoint(note, vkey):
    name, key_id, key = parse_vkey(vkey)
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    for line in signatures.splitlines():
        mark, signer, signature = line.split(" ")
        signature = unbase64(signature)
        if mark == "\u2014" and signer == name and signature[:4].hex() == key_id:
            key.verify(signature[4:], text.encode())
            origin, size, root = text.splitlines()[:3]
            if origin != name:
                raise Wrong("a checkpoint of another log")
            return int(size), unbase64(root)
    raise Wrong("not signed by the log")


# ---- CBOR, as much as records have of it ----


def cbor(data, at=0):
    """(value, offset behind it)"""
    kind, count = data[at] >> 5, data[at] & 31
    at += 1
    if count >= 24:
        size = 1 << (count - 24)
        if count > 27:
            raise Wrong("CBOR")
        count, at = int.from_bytes(data[at : at + size], "big"), at + size
    if kind == 0:
        return count, at
    if kind in (2, 3):
        value = data[at : at + count]
        return (value if kind == 2 else value.decode()), at + count
    items = []
    for _ in range(count * (2 if kind == 5 else 1)):
        value, at = cbor(data, at)
        items.append(value)
    if kind == 4:
        return items, at
    if kind != 5:
        raise Wrong("CBOR")
    return dict(zip(items[::2], items[1::2])), at


FIELDS = {2: "source", 3: "chain", 4: "sequence", 5: "previous", 6: "time", 7: "count", 8: "actor", 9: "action",
          10: "target", 11: "outcome", 12: "detail"}


def record(data):
    value, end = cbor(data)
    if end != len(data) or value.get(1) != 1 or sorted(value) != list(range(1, 13)):
        raise Wrong("not a record")
    return {name: value[key] for key, name in FIELDS.items()}


# ---- the whole ledger ----


def tile_path(level, index, width):
    name = "%03d" % (index % 1000)
    while index >= 1000:
        index //= 1000
        name = "x%03d/%s" % (index % 1000, name)
    return "tile/%s/%s%s" % (level, name, "" if width == 256 else ".p/%d" % width)


def read(directory, path):
    with open(os.path.join(directory, path), "rb") as file:
        return file.read()


def read_entries(directory, size):
    entries = []
    for index in range(0, size, 256):
        data, width = read(directory, tile_path("entries", index // 256, min(256, size - index))), 0
        at = 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 2], "big")
            entries.append(data[at + 2 : at + 2 + length])
            at += 2 + length
            width += 1
        if at != len(data) or width != min(256, size - index):
            raise Wrong("a bundle of another width")
    return entries


def check_tiles(directory, hashes_of_level, level=0):
    """Every tile is what its entries make of it."""
    for index in range(0, len(hashes_of_level), 256):
        part = hashes_of_level[index : index + 256]
        if read(directory, tile_path(level, index // 256, len(part))) != b"".join(part):
            raise Wrong("tile %d/%d is not that of the entries" % (level, index // 256))
    above = [mth(hashes_of_level[i : i + 256]) for i in range(0, len(hashes_of_level) - 255, 256)]
    if above:
        check_tiles(directory, above, level + 1)


def check_chains(entries):
    """Records of one chain follow one another, from its first on."""
    ends = {}
    for data in entries:
        r = record(data)
        sequence, last = ends.get((r["source"], r["chain"]), (0, bytes(32)))
        if r["sequence"] != sequence + 1 or r["previous"] != last:
            raise Wrong("a chain is broken at record %d of '%s'" % (r["sequence"], r["source"]))
        ends[(r["source"], r["chain"])] = (r["sequence"], sha256(data))
    return ends


def check_root(entries, size, root):
    if len(entries) != size or mth([leaf_hash(e) for e in entries]) != root:
        raise Wrong("the records are not those of the checkpoint")


def ledger(directory, vkey_file, *checkpoints):
    with open(vkey_file, encoding="utf-8") as file:
        vkey = file.read()
    size, root = open_checkpoint(read(directory, "checkpoint").decode(), vkey)
    entries = read_entries(directory, size)
    check_root(entries, size, root)
    check_tiles(directory, [leaf_hash(e) for e in entries])
    chains = check_chains(entries)
    for path in checkpoints:
        with open(path, encoding="utf-8") as file:
            older, older_root = open_checkpoint(file.read(), vkey)
        if mth([leaf_hash(e) for e in entries[:older]]) != older_root:
            raise Wrong("%s: the ledger does not continue it" % path)
    print("%d records, %d chains, %d earlier checkpoints" % (size, len(chains), len(checkpoints)))


def flip(directory, vkey_file, step="1"):
    """Changes every byte of every record, or of STEP bytes one, each alone; each must be found."""
    with open(vkey_file, encoding="utf-8") as file:
        size, root = open_checkpoint(read(directory, "checkpoint").decode(), file.read())
    entries = read_entries(directory, size)
    check_root(entries, size, root)
    leaves, tried = [leaf_hash(e) for e in entries], 0
    for number, original in enumerate(entries):
        for at in range(number % int(step), len(original), int(step)):
            changed = bytearray(original)
            changed[at] ^= 1 + tried % 255
            leaves[number] = leaf_hash(bytes(changed))
            if mth(leaves) == root:
                raise Wrong("byte %d of record %d was changed and not found" % (at, number))
            tried += 1
        leaves[number] = leaf_hash(original)
    print("%d bytes of %d records" % (tried, size))


# ---- one proof ----


def check_batch(batch, data):
    """The agent's signature is on the hash of the last record; those between link ours to it."""
    r, at, last = record(data), 0, None
    records = unbase64(batch["records"])
    while at < len(records):
        begin = at
        _, at = cbor(records, at)
        if last is None and records[begin:at] != data:
            raise Wrong("the batch's records begin with another one")
        if last is not None and record(records[begin:at])["previous"] != sha256(last):
            raise Wrong("the batch's records do not follow one another")
        last = records[begin:at]
    statement = unbase64(batch["statement"])
    expected = ["tensorguard-audit-statement-1", r["source"], r["chain"], batch["last"], sha256(last)]
    if cbor(statement)[0] != expected:
        raise Wrong("the statement is on something else")
    signature = unbase64(batch["signature"])
    half = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    key = serialization.load_der_public_key(unbase64(batch["public_key"]))
    key.verify(utils.encode_dss_signature(*half), statement, ec.ECDSA(hashes.SHA256()))


def proof(directory, vkey_file=None):
    p = json.loads(read(directory, "proof.json"))
    with open(vkey_file or os.path.join(directory, "log.vkey"), encoding="utf-8") as file:
        vkey = file.read()
    head, _, checkpoint = p["proof"].partition("\n\n")
    lines = head.splitlines()
    if lines[0] != "c2sp.org/tlog-proof@v1" or lines[1] != "index %d" % p["index"]:
        raise Wrong("not a proof")
    size, root = open_checkpoint(checkpoint, vkey)
    data = unbase64(p["record"])
    if data != read(directory, "record.cbor"):
        raise Wrong("record.cbor is another record")
    if root_from_inclusion(p["index"], size, leaf_hash(data), [unbase64(h) for h in lines[2:]]) != root:
        raise Wrong("the record is not in the ledger")
    older = p["consistency"]
    if older:
        old_root = unbase64(older["root"])
        got = roots_from_consistency(older["size"], size, True, old_root, [unbase64(h) for h in older["proof"]])
        if got != (old_root, root):
            raise Wrong("the ledger does not continue the earlier one")
    if p["batch"]:
        check_batch(p["batch"], data)
    print("record %d of %d%s%s" % (p["index"], size, ", consistent" if older else "",
                                    ", signed by its agent" if p["batch"] else ""))


def main(arguments):
    commands = {"ledger": ledger, "proof": proof, "flip": flip}
    if len(arguments) < 2 or arguments[0] not in commands:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        commands[arguments[0]](*arguments[1:])
    except (Wrong, InvalidSignature, OSError, ValueError, IndexError, UnicodeDecodeError) as error:
        print("verify_ledger: %s: %s" % (type(error).__name__, error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
