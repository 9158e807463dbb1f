"""Prints what crates/core/src/kept/seal.rs must write, computed by libsodium (pip install pynacl)."""
import base64, hashlib, struct
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt as encrypt

key = bytes(range(32))
derive = lambda purpose: hashlib.blake2b(b"password_verify " + purpose, key=key, digest_size=32).digest()
head = f"$sealed$v=1$new${derive(b'fingerprint v1')[:8].hex()}$a label$".encode()
data = b"".join(struct.pack(">Q", len(text)) + text for text in [head, b"test", b"42"])
for time in [None, 5, 1, 2]:
    data += struct.pack(">?q", time is not None, time or 0)
data += b"\0"
nonce = bytes([9]) * 24
body = nonce + encrypt(b"secret", data, nonce, derive(b"seal v1"))
print(head.decode() + base64.b64encode(body).decode().rstrip("="))
