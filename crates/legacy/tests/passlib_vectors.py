"""Makes tests/passlib.txt: every hash that passlib's own tests know to be right, with its password.

    python3 -m venv venv && venv/bin/pip install passlib==1.7.4 bcrypt==4.0.1 argon2-cffi==25.1.0
    venv/bin/python crates/legacy/tests/passlib_vectors.py >crates/legacy/tests/passlib.txt

They are `known_correct_hashes` and `known_correct_configs` of the classes in passlib.tests.test_handlers*, each
once.
"""
import importlib
import inspect

import passlib
from passlib.tests.utils import HandlerCase

print(f"# Made by crates/legacy/tests/passlib_vectors.py from the tests of passlib {passlib.__version__} (PyPI).")
print("# Copyright (c) 2008-2020 Assurance Technologies, LLC. All rights reserved. BSD license, 3 clauses:")
print("# passlib's LICENSE.")
print("# Name of passlib's handler, user id, password in hexadecimal (- is empty), hash; tabs between.")

rows = {}
for part in ["", "_argon2", "_bcrypt", "_cisco", "_django", "_pbkdf2", "_scrypt"]:
    module = importlib.import_module("passlib.tests.test_handlers" + part)
    for _, case in sorted(vars(module).items()):
        if not inspect.isclass(case) or not issubclass(case, HandlerCase) or case.handler is None:
            continue
        known = [(secret, hashed) for secret, hashed, *_ in case.known_correct_hashes]
        known += [(secret, hashed) for _, secret, hashed in getattr(case, "known_correct_configs", [])]
        for secret, hashed in known:
            # Beside a password: a user, and before that a realm.
            user = secret[-1] if isinstance(secret, tuple) else ""
            password = secret[0] if isinstance(secret, tuple) else secret
            if not isinstance(password, bytes):
                password = password.encode()
            rows[case.handler.name, user or "", password.hex() or "-", hashed] = None
for row in sorted(rows):
    assert not any(c in field for field in row for c in "\t\n")
    print(*row, sep="\t")
