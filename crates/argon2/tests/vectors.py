"""Makes tests/vectors.txt, and the answers in src/self_test.rs, with the reference implementation:

    python3 -m venv /tmp/reference && /tmp/reference/bin/pip install argon2-cffi==25.1.0
    /tmp/reference/bin/python crates/argon2/tests/vectors.py > crates/argon2/tests/vectors.txt

argon2-cffi-bindings carries the reference implementation in C (github.com/P-H-C/phc-winner-argon2).
"""
from argon2.low_level import ARGON2_VERSION, Type, core, ffi, hash_secret_raw, lib

assert ARGON2_VERSION == 19

PARAMETERS = [  # m, t, p, bytes of tag
    (8, 1, 1, 32), (9, 1, 1, 4), (11, 3, 1, 16), (16, 1, 2, 32), (32, 3, 4, 64), (63, 2, 4, 65),
    (128, 1, 16, 32), (255, 4, 5, 96), (511, 2, 1, 32), (512, 2, 1, 32), (513, 2, 1, 128),
    (516, 1, 1, 32), (1000, 2, 1, 32), (333, 3, 3, 32), (1024, 3, 1, 32), (1028, 2, 1, 32),
    (4096, 2, 7, 32), (2048, 5, 2, 24), (4097, 1, 3, 1000), (19456, 2, 1, 32), (65536, 3, 4, 32),
    (9216, 4, 1, 32), (12288, 3, 1, 32),
]
INPUTS = [(b"password", b"somesaltsomesalt"), (b"", b"8 bytes."), (bytes(range(200)), bytes(range(64)))]


def raw(m, t, p, length, password, salt, secret, data):
    """With secret and associated data, which the wrapper does not offer."""
    out = ffi.new("uint8_t[]", length)
    buffers = [ffi.new("uint8_t[]", part) if part else ffi.NULL for part in (password, salt, secret, data)]
    context = ffi.new("argon2_context *", dict(
        out=out, outlen=length, version=ARGON2_VERSION,
        pwd=buffers[0], pwdlen=len(password), salt=buffers[1], saltlen=len(salt),
        secret=buffers[2], secretlen=len(secret), ad=buffers[3], adlen=len(data),
        t_cost=t, m_cost=m, lanes=p, threads=1, allocate_cbk=ffi.NULL, free_cbk=ffi.NULL, flags=0))
    code = core(context, Type.ID.value)
    assert code == lib.ARGON2_OK, code
    return bytes(ffi.buffer(out, length))


def line(m, t, p, length, password, salt, secret=b"", data=b""):
    tag = raw(m, t, p, length, password, salt, secret, data)
    if not secret and not data:
        assert tag == hash_secret_raw(password, salt, t, m, p, length, Type.ID)
    print(m, t, p, *(part.hex() or "-" for part in (password, salt, secret, data, tag)))


print("# Argon2id, version 1.3: m (KiB), t, p, password, salt, secret, associated data, tag; - is empty.")
print("# Made by tests/vectors.py; the first is RFC 9106 section 5.3.")
line(32, 3, 4, 32, bytes([1]) * 32, bytes([2]) * 16, bytes([3]) * 8, bytes([4]) * 12)
for number, parameters in enumerate(PARAMETERS):
    line(*parameters, *INPUTS[number % 3])
    if parameters[0] < 5000:
        line(*parameters, *INPUTS[0], b"secret" * (number % 4), bytes(range(number % 33)))
line(1000, 2, 1, 32, *INPUTS[0])
line(333, 3, 3, 32, *INPUTS[0])
