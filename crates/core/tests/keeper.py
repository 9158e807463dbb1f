"""Prints what crates/core/src/keeper/ must write, computed by libsodium (pip install pynacl)."""
import base64, hashlib, struct
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt as encrypt
from nacl.pwhash import argon2id

base = lambda data: base64.b64encode(data).decode().rstrip("=")
derive = lambda key, purpose: hashlib.blake2b(b"password_verify " + purpose, key=key, digest_size=32).digest()
id, nonce = bytes([4]) * 16, bytes([9]) * 24


def seal(secret, parts, key):
    data = b"".join(struct.pack(">Q", len(part)) + part for part in parts)
    return nonce + encrypt(secret, data, nonce, key)


kept = seal(b"secret", [b"kept secret v1", id, b'{"host":"mail.example"}'], bytes(range(32)))
print("data_key.rs $kept$v=1$" + base(kept))

vault_key = bytes([7]) * 32
locked = seal(bytes([8]) * 32, [b"data key in a vault v1", id], vault_key)
print("vault.rs    $locked$v=1$" + base(locked))

salt = bytes([1]) * 16
output = argon2id.kdf(32, b"correct horse", salt, opslimit=1, memlimit=32 * 1024)
wrapped = seal(vault_key, [b"vault lock v1", id], derive(output, b"vault lock v1"))
check = derive(output, b"vault check v1")
print(f"lock.rs     $argon2id$v=19$m=32,t=1,p=1${base(salt)}${base(check)}${base(wrapped)}")

handle = bytes([3]) * 32
print("handle.rs   " + derive(handle, b"vault handle v1").hex())
hidden = seal(vault_key, [b"vault key of a handle v1"], derive(handle, b"vault key of a handle v1"))
print("handle.rs   " + hidden.hex())
