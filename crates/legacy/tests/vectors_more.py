"""Makes the end of tests/vectors.txt: started by vectors.sh after vectors.py; read there how it is installed.

Mattermost's and Spring's ways to write PBKDF2, scrypt and bcrypt are computed here, in Python; of Spring's there
are published hashes besides, from the reference of Spring Security ("Password Storage Format").
"""
import base64
import hashlib
import json
import os
import subprocess

import argon2.low_level as argon2_low
import bcrypt
import passlib.hash as ph

ASCII = "correct horse battery staple"
UTF8 = "Grüße, пароль 密码 🔑"
LONG = "0123456789abcdefghijklmnopqrstuvwxyz" * 3  # 108 bytes
FOUR = [ASCII, UTF8, LONG, ""]
b64 = lambda data: base64.b64encode(data).decode()
bare = lambda data: b64(data).rstrip("=")


def row(system, form, password, hashed):
    assert "\t" not in hashed and "\n" not in hashed
    print(system, form, "", password.encode().hex() or "-", hashed, sep="\t")


def salt(label, size=16):
    """Salts differ, and are the same whenever this runs."""
    return hashlib.shake_128(label.encode()).digest(size)


# --- passlib --------------------------------------------------------------------------------------------
for form, handler in [
    ("NetBSD $sha1$", ph.sha1_crypt.using(rounds=101, salt="saltSALT")),
    ("Solaris $md5$", ph.sun_md5_crypt.using(rounds=0, salt="saltSALT")),
    ("Solaris $md5,", ph.sun_md5_crypt.using(rounds=904, salt="saltSALT")),
    ("Django crypt$", ph.django_des_crypt.using(salt="ab")),
    ("Atlassian {PKCS5S2}", ph.atlassian_pbkdf2_sha1.using(salt=salt("atlassian"))),
    ("Cryptacular $p5k2$", ph.cta_pbkdf2_sha1.using(rounds=1001, salt=salt("cta"))),
    ("dlitz $p5k2$", ph.dlitz_pbkdf2_sha1.using(rounds=1001, salt="saltSALT")),
    ("GRUB grub.pbkdf2.sha512.", ph.grub_pbkdf2_sha512.using(rounds=1001, salt=salt("grub"))),
    ("passlib $scram$", ph.scram.using(rounds=1001, salt=salt("scram", 12))),
    ("passlib $scram$", ph.scram.using(rounds=1001, salt=salt("scram", 12), algs="sha-1")),
    ("passlib $scram$", ph.scram.using(rounds=1001, salt=salt("scram", 12), algs="sha-1,sha-512")),
    *[("FSHP {FSHP", ph.fshp.using(variant=n, rounds=1001, salt=salt("fshp", 8))) for n in range(4)],
    ("MySQL 4.1 *", ph.mysql41),
    ("SQL Server 2000 0x0100", ph.mssql2000.using(salt=salt("mssql", 4))),
    ("SQL Server 2005 0x0100", ph.mssql2005.using(salt=salt("mssql", 4))),
    ("Oracle 11 S:", ph.oracle11.using(salt=salt("oracle", 10).hex().upper())),
]:
    for password in FOUR:
        # SASLprep of passlib refuses what PostgreSQL's takes as it is.
        if form == "passlib $scram$" and password in (UTF8, ""):
            continue
        row("passlib", form, password, handler.hash(password))

# --- Dovecot --------------------------------------------------------------------------------------------
DOVECOT = os.environ["DOVECOT"]
LIBRARIES = ":".join(f"{DOVECOT}/usr/lib/{part}" for part in ("dovecot", "dovecot/modules", "x86_64-linux-gnu"))


def doveadm(scheme, password):
    command = [f"{DOVECOT}/usr/bin/doveadm", "-O", "pw", "-s", scheme, "-p", password]
    if scheme.startswith("BLF"):
        command += ["-r", "4"]
    environment = {**os.environ, "LD_LIBRARY_PATH": LIBRARIES}
    return subprocess.run(command, env=environment, capture_output=True, check=True).stdout.decode().strip()


for scheme in ["SHA512-CRYPT", "SHA256-CRYPT", "MD5-CRYPT", "DES-CRYPT", "BLF-CRYPT", "ARGON2ID", "ARGON2I", "MD5",
               "LDAP-MD5", "PLAIN-MD5", "SHA1", "SHA1.hex", "SHA1.b64", "SHA256.hex", "SSHA512.hex", "SHA512.b64",
               "SHA512-CRYPT.b64", "SMD5.hex", "PBKDF2"]:
    for password in [ASCII, UTF8, LONG]:
        row("Dovecot", f"Dovecot {{{scheme}}}", password, doveadm(scheme, password))

# --- better-auth ----------------------------------------------------------------------------------------
JS = """
const { hashPassword } = require('@better-auth/utils/password');
const passwords = JSON.parse(require('fs').readFileSync(0));
Promise.all(passwords.map(hashPassword)).then(h => console.log(JSON.stringify(h)));
"""
passwords = [*FOUR, "\u2168 ﬁ"]
out = subprocess.run(["node", "-e", JS], input=json.dumps(passwords).encode(), capture_output=True, check=True)
for password, hashed in zip(passwords, json.loads(out.stdout)):
    row("better-auth", "better-auth salt:key", password, hashed)

# --- Werkzeug before 2.3 --------------------------------------------------------------------------------
OLD = "import sys; from werkzeug.security import generate_password_hash as h; print(h(sys.argv[1], sys.argv[2]))"
for method in ["sha256", "sha512"]:
    for password in FOUR:
        environment = {**os.environ, "PYTHONPATH": os.environ["OLD_WERKZEUG"]}
        out = subprocess.run([os.sys.executable, "-c", OLD, password, method], env=environment, capture_output=True, check=True)
        row("Werkzeug", f"Werkzeug {method}$", password, out.stdout.decode().strip())

# --- Mattermost, Keycloak, Spring -----------------------------------------------------------------------
for password in FOUR:
    raw, s = password.encode(), salt("more" + password)
    hashed = hashlib.pbkdf2_hmac("sha256", raw, s, 1000, 32)
    row("Python", "Mattermost $pbkdf2$f=", password, f"$pbkdf2$f=SHA256,w=1000,l=32${bare(s)}${bare(hashed)}")
    crypt = bcrypt.hashpw(raw[:72], bcrypt.gensalt(4)).decode()
    secret = json.dumps({"value": crypt, "salt": ""})
    data = json.dumps({"hashIterations": 4, "algorithm": "bcrypt"})
    row("bcrypt (Python)", "Keycloak bcrypt", password, json.dumps({"credentialData": data, "secretData": secret}))
    row("bcrypt (Python)", "Spring {bcrypt}", password, "{bcrypt}" + crypt)
    hashed = hashlib.pbkdf2_hmac("sha256", raw, s, 310000, 32)
    row("Python", "Spring {pbkdf2@SpringSecurity_v5_8}", password, "{pbkdf2@SpringSecurity_v5_8}" + (s + hashed).hex())
    hashed = hashlib.scrypt(raw, salt=s, n=1024, r=8, p=1, dklen=32)
    row("Python", "Spring {scrypt@SpringSecurity_v5_8}", password, f"{{scrypt@SpringSecurity_v5_8}}$a0801${b64(s)}${b64(hashed)}")
    tag = argon2_low.hash_secret(raw, s, time_cost=2, memory_cost=64, parallelism=1, hash_len=32, type=argon2_low.Type.ID)
    row("argon2-cffi", "Spring {argon2@SpringSecurity_v5_8}", password, "{argon2@SpringSecurity_v5_8}" + tag.decode())
row("Spring's reference", "Spring {bcrypt}", "password",
    "{bcrypt}$2a$10$dXJ3SW6G7P50lGmMkkmwe.20cQQubK3.HZWzG3YB1tlRy.fqvM/BG")
row("Spring's reference", "Spring {pbkdf2}", "password",
    "{pbkdf2}5d923b44a6d129f3ddf3e3c8d29412723dcbde72445e8ef6bf3b508fbf17fa4ed4d6b99ca763d8dc")
row("Spring's reference", "Spring {scrypt}", "password",
    "{scrypt}$e0801$8bWJaSu2IKSn9Z9kM+TPXfOc/9bdYSrN1oD9qfVThWEwdRTnO7re7Ei+fUZRJ68k9lTyuTeUp4of4g24hHnazw==$OAOec05+bXxvuu/1qZ6NUR+xQYvYv7BeL1QxwRpY5Pc=")
