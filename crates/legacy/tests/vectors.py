"""Makes tests/vectors.txt: passwords as the systems themselves hashed them. Started by vectors.sh, which
installs the systems; read there how.

What no system could be installed for is computed here a second time, in Python: Drupal, ASP.NET, Keycloak,
the PHC form of PBKDF2, Supabase's and Kratos's ways of writing what firebase-scrypt computed, LDAP's
SHA-384. Of Drupal, ASP.NET, Supabase and Kratos there are published hashes besides.
"""
import base64
import ctypes
import hashlib
import json
import os
import struct
import subprocess

import argon2
import argon2.low_level as argon2_low
import bcrypt
import django
import passlib
import passlib.hash as ph
import werkzeug
from django.conf import settings
from django.contrib.auth import hashers
from werkzeug.security import generate_password_hash

settings.configure()

ASCII = "correct horse battery staple"
UTF8 = "Grüße, пароль 密码 🔑"
LONG = "0123456789abcdefghijklmnopqrstuvwxyz" * 3  # 108 bytes
LONG_UTF8 = "ß" * 50  # 72 bytes end in the middle of nothing, 73 would
FOUR = [ASCII, UTF8, LONG, ""]
b64 = lambda data: base64.b64encode(data).decode()
bare = lambda data: b64(data).rstrip("=")


def row(system, form, password, hashed, user=""):
    assert "\t" not in hashed and "\n" not in hashed
    print(system, form, user, password.encode().hex() or "-", hashed, sep="\t")


def salt(label, size=16):
    """Salts differ, and are the same whenever this runs."""
    return hashlib.shake_128(label.encode()).digest(size)


# --- crypt(3) -------------------------------------------------------------------------------------------
libcrypt = ctypes.CDLL("libcrypt.so.1")
libcrypt.crypt.restype = ctypes.c_char_p
libcrypt.crypt_gensalt.restype = ctypes.c_char_p
libcrypt.crypt_gensalt.argtypes = [ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_int]


def crypt(password, setting):
    hashed = libcrypt.crypt(password.encode(), setting.encode())
    assert hashed and not hashed.startswith(b"*"), setting
    return hashed.decode()


def gensalt(prefix, count, label):
    random = salt(label, 64)
    of = prefix.replace("x", "b")  # nobody makes new ones with the bug of $2x$
    made = libcrypt.crypt_gensalt(of.encode(), count, random, len(random))
    assert made, prefix
    return made.decode().replace(of, prefix, 1)


for form, prefix, count in [
    ("yescrypt $y$", "$y$", 1), ("scrypt $7$", "$7$", 6), ("SHA-512-crypt $6$", "$6$", 5000),
    ("SHA-512-crypt $6$", "$6$", 1234), ("SHA-256-crypt $5$", "$5$", 5000), ("SHA-256-crypt $5$", "$5$", 1000), ("MD5-crypt $1$", "$1$", 0),
    ("bcrypt $2b$", "$2b$", 4), ("bcrypt $2a$", "$2a$", 4), ("bcrypt $2x$", "$2x$", 4),
    ("bcrypt $2y$", "$2y$", 5), ("extended DES _", "_", 725), ("DES", "", 0),
]:
    for number, password in enumerate([*FOUR, LONG_UTF8]):
        row("libxcrypt", form, password, crypt(password, gensalt(prefix, count, f"{form}{number}")))
# Parameters that crypt_gensalt does not make: p, t, p and t, write once, classic, larger r. Then odd salts.
for setting in ["$y$j75.0$abcd", "$y$j75/.$abcdefgh", "$y$j75//$abcdefgh", "$y$j750./$abcdefgh", "$y$/75$abcdefgh", "$y$.75$abcdefgh",
                "$y$j5k/$abcdefgh", "$y$j4T$", "$y$jAT$" + "x" * 85 + "1"]:
    for password in [ASCII, UTF8]:
        row("libxcrypt", "yescrypt $y$", password, crypt(password, setting))
for setting in ["$6$short", "$6$$", "$5$rounds=1001$a.salt/of.16.ch", "$1$$", "$1$abc", "_/...zzzz",
                "$7$61..../....salt.as.it.is", "$7$4/..../....any"]:
    names = {"$6$": "SHA-512-crypt $6$", "$5$": "SHA-256-crypt $5$", "$1$": "MD5-crypt $1$", "$7$": "scrypt $7$"}
    row("libxcrypt", names.get(setting[:3], "extended DES _"), ASCII, crypt(ASCII, setting))
for count in [1, 3, 1001]:
    row("passlib", "extended DES _", LONG, ph.bsdi_crypt.using(salt="abC.", rounds=count).hash(LONG))

# --- OpenSSL --------------------------------------------------------------------------------------------
openssl = lambda *args, password: subprocess.run(
    ["openssl", "passwd", *args, "-stdin"], input=password.encode() + b"\n",
    capture_output=True, check=True).stdout.decode().strip()
for password in [ASCII, UTF8, LONG]:
    row("OpenSSL", "Apache MD5 $apr1$", password, openssl("-apr1", "-salt", "8.sAlt/x", password=password))
    row("OpenSSL", "SHA-512-crypt $6$", password, openssl("-6", "-salt", "saltsalt", password=password))
    row("OpenSSL", "SHA-256-crypt $5$", password, openssl("-5", "-salt", "saltsalt", password=password))

# --- argon2-cffi (the reference implementation) ---------------------------------------------------------
for kind in argon2_low.Type:
    for version in (19, 16):
        for number, password in enumerate(FOUR):
            hashed = argon2_low.hash_secret(
                password.encode(), salt(f"argon2 {kind} {version} {number}"), time_cost=2 + number % 2,
                memory_cost=64 + 64 * number, parallelism=1 + number, hash_len=16 + 16 * number, type=kind,
                version=version).decode()
            form = f"Argon2 ${'argon2' + kind.name.lower()}$, version {version}"
            row("argon2-cffi", form, password, hashed)
            if version == 16:  # as the reference implementation wrote it before there were versions
                row("argon2-cffi", form, password, hashed.replace("v=16$", ""))

# --- bcrypt ---------------------------------------------------------------------------------------------
for password in [*FOUR, LONG_UTF8]:
    for prefix in (b"2a", b"2b"):
        row("bcrypt (Python)", f"bcrypt ${prefix.decode()}$", password,
            bcrypt.hashpw(password.encode(), b"$" + prefix + b"$04$" + b"abcdefghijklmnopqrstuu").decode())

# --- passlib --------------------------------------------------------------------------------------------
for number, password in enumerate(FOUR):
    s = salt(f"passlib {number}")
    crypt_salt = "aZ09./" + "AbCdEf" + str(number) * 2
    for form, hasher in [
        ("scrypt $scrypt$", ph.scrypt.using(salt=s, rounds=6 + number, block_size=1 + 3 * number, parallelism=1 + number % 2)),
        ("PBKDF2 $pbkdf2$", ph.pbkdf2_sha1.using(salt=s, rounds=1000)),
        ("PBKDF2 $pbkdf2-sha256$", ph.pbkdf2_sha256.using(salt=s, rounds=1000)),
        ("PBKDF2 $pbkdf2-sha512$", ph.pbkdf2_sha512.using(salt=s, rounds=1000)),
        ("bcrypt-sha256 $bcrypt-sha256$", ph.bcrypt_sha256.using(rounds=4, version=1, ident="2a")),
        ("bcrypt-sha256 $bcrypt-sha256$ v=2", ph.bcrypt_sha256.using(rounds=4, version=2, ident="2b")),
        ("phpass $P$", ph.phpass.using(salt="saltsalt", rounds=7 + number, ident="P")),
        ("phpass $H$", ph.phpass.using(salt=".Salt/09", rounds=8, ident="H")),
        ("LDAP {MD5}", ph.ldap_md5), ("LDAP {SMD5}", ph.ldap_salted_md5.using(salt=s)),
        ("LDAP {SHA}", ph.ldap_sha1), ("LDAP {SSHA}", ph.ldap_salted_sha1.using(salt=s[:4 + number])),
        ("LDAP {SSHA256}", ph.ldap_salted_sha256.using(salt=s[:8])),
        ("LDAP {SSHA512}", ph.ldap_salted_sha512.using(salt=s)),
        ("LDAP {CRYPT}", ph.ldap_sha512_crypt.using(salt=crypt_salt, rounds=1000)),
        ("LDAP {CRYPT}", ph.ldap_des_crypt.using(salt="ab", truncate_error=False)),
        ("LDAP {CRYPT}", ph.ldap_bsdi_crypt.using(salt="abcd", rounds=5)),
        ("LDAP {PBKDF2-SHA256}", ph.ldap_pbkdf2_sha256.using(salt=s, rounds=1000)),
        ("LDAP {PBKDF2-SHA512}", ph.ldap_pbkdf2_sha512.using(salt=s, rounds=1000)),
        ("LDAP {PBKDF2}", ph.ldap_pbkdf2_sha1.using(salt=s, rounds=1000)),
        ("Django sha1$", ph.django_salted_sha1.using(salt="saltsalt")),
        ("MD5-crypt $1$", ph.md5_crypt.using(salt="saltsalt"[number:])),
        ("Apache MD5 $apr1$", ph.apr_md5_crypt.using(salt="saltsalt"[number:])),
        ("PostgreSQL md5", ph.postgres_md5),
    ]:
        user = {"user": "Jürgen"} if form == "PostgreSQL md5" else {}
        row("passlib", form, password, hasher.hash(password, **user), *user.values())

# --- Django ---------------------------------------------------------------------------------------------
argon2_hasher = hashers.Argon2PasswordHasher()
argon2_hasher.memory_cost = 256
for password in [ASCII, UTF8, LONG]:
    row("Django", "Django pbkdf2_sha256$", password, hashers.PBKDF2PasswordHasher().encode(password, "saltSALT", 1500))
    row("Django", "Django pbkdf2_sha1$", password, hashers.PBKDF2SHA1PasswordHasher().encode(password, "saltSALT", 1500))
    row("Django", "Django argon2$", password, argon2_hasher.encode(password, "saltSALTsalt"))
    row("Django", "Django scrypt$", password, hashers.ScryptPasswordHasher().encode(password, "saltSALT", 1024, 8, 2))
    row("Django", "Django bcrypt_sha256$", password, hashers.BCryptSHA256PasswordHasher().encode(password, b"$2b$04$abcdefghijklmnopqrstuu"))
    row("Django", "Django bcrypt$", password, hashers.BCryptPasswordHasher().encode(password, b"$2b$04$abcdefghijklmnopqrstuu"))
    row("Django", "Django md5$", password, hashers.MD5PasswordHasher().encode(password, "saltSALT"))

# --- Werkzeug -------------------------------------------------------------------------------------------
for password in FOUR:
    for method in ["scrypt:1024:8:1", "scrypt:4096:4:2", "pbkdf2:sha256:1000", "pbkdf2:sha1:1000", "pbkdf2:sha512:1000"]:
        row("Werkzeug", "Werkzeug " + ":".join(method.split(":")[: 2 if method[0] == "p" else 1]) + ":", password,
            generate_password_hash(password, method))

# --- PHP, with the phpass of WordPress in Debian --------------------------------------------------------
PHP = r"""
require $argv[1] . '/wp-includes/class-phpass.php';
$out = [];
foreach (json_decode(stream_get_contents(STDIN)) as $password) {
    // WordPress 6.8, wp_hash_password(): the two lines that it has.
    $wp = '$wp' . password_hash(base64_encode(hash_hmac('sha384', trim($password), 'wp-sha384', true)), PASSWORD_BCRYPT, ['cost' => 4]);
    $phpass = new PasswordHash(8, true);
    $out[] = [
        ['PHP', 'bcrypt $2y$', password_hash($password, PASSWORD_BCRYPT, ['cost' => 4])],
        ['PHP', 'WordPress 6.8 $wp$2y$', $wp],
        ['WordPress', 'phpass $P$', $phpass->HashPassword($password)],
        ['PHP', 'bcrypt $2x$', crypt($password, '$2x$04$abcdefghijklmnopqrstuu')],
        ['PHP', 'SHA-512-crypt $6$', crypt($password, '$6$rounds=1000$saltsaltsaltsalt$')],
    ];
}
echo json_encode($out);
"""
passwords = [*FOUR, LONG_UTF8, "  spaces \n"]
out = subprocess.run(["php", "-r", PHP, os.environ["WORDPRESS"]], input=json.dumps(passwords).encode(),
                     capture_output=True, check=True).stdout
for password, hashes in zip(passwords, json.loads(out)):
    for system, form, hashed in hashes:
        row(system, form, password, hashed)


# --- Drupal 7, in Python --------------------------------------------------------------------------------
def le64(data):
    alphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    text, bits, word = "", 0, 0
    for byte in data:
        word |= byte << bits
        bits += 8
        while bits >= 6:
            text, word, bits = text + alphabet[word & 63], word >> 6, bits - 6
    return text + (alphabet[word] if bits else "")


def drupal(password, setting):
    rounds = 1 << "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".index(setting[3])
    digest = hashlib.sha512(setting[4:12].encode() + password).digest()
    for _ in range(rounds):
        digest = hashlib.sha512(digest + password).digest()
    return (setting + le64(digest))[:55]


row("hashcat's example", "Drupal 7 $S$", "hashcat", "$S$C33783772bRXEx1aCsvY.dqgaaSu76XmVlKrW9Qu8IQlvxHlmzLf")
for password in FOUR:
    row("Python", "Drupal 7 $S$", password, drupal(password.encode(), "$S$9saltsalt"))
    row("Python", "Drupal 7 U$S$", password, "U" + drupal(hashlib.md5(password.encode()).hexdigest().encode(), "$S$9SALT./09"))

for form, hashed in [  # "my password", in the tests of ASP.NET Core Identity
    ("v2", "AAABAgMEBQYHCAkKCwwNDg+ukCEMDf0yyQ29NYubggHIVY0sdEUfdyeM+E1LtH1uJg=="),
    ("v3", "AQAAAAAAAAD6AAAAEAhftMyfTJylOlZT+eEotFXd1elee8ih5WsjXaR3PA9M"),
    ("v3", "AQAAAAIAAAAyAAAAEOMwvh3+FZxqkdMBz2ekgGhwQ4B6pZWND6zgESBuWiHw"),
    ("v3", "AQAAAAIAAAD6AAAAIJbVi5wbMR+htSfFp8fTw8N8GOS/Sje+S/4YZcgBfU7EQuqv4OkVYmc4VJl9AGZzmRTxSkP7LtVi9IWyUxX8IAAfZ8v+ZfhjCcudtC1YERSqE1OEdXLW9VukPuJWBBjLuw=="),
    ("v3", "AQAAAAIAACcQAAAAEAABAgMEBQYHCAkKCwwNDg9B0Oxwty+PGIDSp95gcCfzeDvA4sGapUIUov8usXfD6A=="),
]:
    row("ASP.NET Core's test", f"ASP.NET Core Identity {form}", "my password", hashed)

# --- PBKDF2 in the PHC format, ASP.NET, Keycloak, in Python ---------------------------------------------
for number, password in enumerate(FOUR):
    s, raw = salt(f"python {number}"), password.encode()
    for name in ("sha256", "sha512"):
        hashed = hashlib.pbkdf2_hmac(name, raw, s, 1000, 32)
        row("Python", f"PBKDF2 $pbkdf2-{name}$i=", password, f"$pbkdf2-{name}$i=1000,l=32${bare(s)}${bare(hashed)}")
        row("Python", f"PBKDF2 $pbkdf2-{name}$i=", password, f"$pbkdf2-{name}$i=1000${bare(s)}${bare(hashed)}")
    row("Python", "ASP.NET Core Identity v2", password, b64(b"\0" + s + hashlib.pbkdf2_hmac("sha1", raw, s, 1000, 32)))
    for prf, name in enumerate(("sha1", "sha256", "sha512")):
        head = struct.pack(">BIII", 1, prf, 1000, len(s))
        row("Python", "ASP.NET Core Identity v3", password, b64(head + s + hashlib.pbkdf2_hmac(name, raw, s, 1000, 32)))
    for algorithm, name in [("pbkdf2", "sha1"), ("pbkdf2-sha256", "sha256"), ("pbkdf2-sha512", "sha512")]:
        secret = {"value": b64(hashlib.pbkdf2_hmac(name, raw, s, 1000, 64)), "salt": b64(s), "additionalParameters": {}}
        data = {"hashIterations": 1000, "algorithm": algorithm, "additionalParameters": {}}
        compact = lambda value: json.dumps(value, separators=(",", ":"))
        row("Python", f"Keycloak {algorithm}", password, compact({"credentialData": compact(data), "secretData": compact(secret)}))
        row("Python", f"Keycloak {algorithm}", password, json.dumps({"type": "password", "secretData": secret, "credentialData": data}))
    tag = argon2_low.hash_secret_raw(raw, s, time_cost=2, memory_cost=128, parallelism=1, hash_len=32, type=argon2_low.Type.ID)
    data = {"hashIterations": 2, "algorithm": "argon2", "additionalParameters": {
        "hashLength": ["32"], "memory": ["128"], "type": ["id"], "version": ["1.3"], "parallelism": ["1"]}}
    secret = {"value": b64(tag), "salt": b64(s), "additionalParameters": {}}
    row("argon2-cffi", "Keycloak argon2", password, compact({"credentialData": compact(data), "secretData": compact(secret)}))
    row("Python", "LDAP {SSHA384}", password, "{SSHA384}" + b64(hashlib.sha384(raw + s).digest() + s))
    argon2id = argon2_low.hash_secret(raw, s, time_cost=2, memory_cost=64, parallelism=1, hash_len=32, type=argon2_low.Type.ID)
    row("argon2-cffi", "LDAP {ARGON2}", password, "{ARGON2}" + argon2id.decode())
    row("Python", "LDAP {SHA384}", password, "{SHA384}" + b64(hashlib.sha384(raw).digest()))
    row("Python", "LDAP {SHA512}", password, "{SHA512}" + b64(hashlib.sha512(raw).digest()))
    row("Python", "LDAP {SHA256}", password, "{SHA256}" + b64(hashlib.sha256(raw).digest()))

# --- Firebase -------------------------------------------------------------------------------------------
SIGNER = "ou9tdYTGyYm8kuR6Dt0Bp0kDuAYoXrK16mbZO4yGwAn3oLspjnN0/c41v8xZnO1n14J3MjKj1b2g6AUCAlFwMw=="
JS = """
const { FirebaseScrypt } = require('firebase-scrypt');
const scrypt = new FirebaseScrypt({ memCost: 11, rounds: 8, saltSeparator: 'Bw==', signerKey: process.argv[1] });
const passwords = JSON.parse(require('fs').readFileSync(0));
Promise.all(passwords.map(p => scrypt.hash(p, 'C0sHCg9ek77hsg=='))).then(h => console.log(JSON.stringify(h)));
"""
passwords = [ASCII, UTF8, LONG]
out = subprocess.run(["node", "-e", JS, SIGNER], input=json.dumps(passwords).encode(), capture_output=True, check=True)
for password, hashed in zip(passwords, json.loads(out.stdout)):
    s = "C0sHCg9ek77hsg=="
    row("firebase-scrypt", "Firebase $fbscrypt$", password, f"$fbscrypt$v=1,n=11,r=8,p=1,ss=Bw==,sk={SIGNER}${s}${hashed}")
    row("firebase-scrypt", "Firebase $firescrypt$", password, f"$firescrypt$ln=11,r=8,p=1${s}${hashed}$Bw==${SIGNER}")
    row("firebase-scrypt", "Firebase $firebase-scrypt$", password, f"$firebase-scrypt${s}${hashed}")
    user = {"localId": "x", "passwordHash": hashed.replace("+", "-").replace("/", "_"), "salt": s}
    row("firebase-scrypt", "Firebase export", password, json.dumps(user))
row("Supabase's test", "Firebase $fbscrypt$", "mytestpassword", f"$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk={SIGNER}$C0sHCg9ek77hsg==$zKVTMvnWVw5BBOZNUdnsalx4c4c7y/w7IS5p6Ut2+CfEFFlz37J9huyQfov4iizN8dbjvEJlM5tQaJP84+hfTw==")
row("Ory Kratos's test", "Firebase $firescrypt$", "8x4WjoDbSxJZdR", "$firescrypt$ln=14,r=8,p=1$sPtDhWcd1MfdAw==$xbSou7FOl6mChCyzpCPIQ7tku7nsQMTFtyOZSXXd7tjBa4NtimOx7v42Gv2SfzPQu1oxM2/k4SsbOu73wlKe1A==$Bw==$YE0dO4bwD4JnJafh6lZZfkp1MtKzuKAXQcDCJNJNyeCHairWHKENOkbh3dzwaCdizzOspwr/FITUVlnOAwPKyw==")


# --- PostgreSQL and pgcrypto ----------------------------------------------------------------------------
def sql(text):
    return subprocess.run([os.environ["PSQL"], "-X", "-h", os.environ["PGHOST"], "-U", "postgres", "-d", "postgres",
                           "-At", "-v", "ON_ERROR_STOP=1", "-q"], input=text.encode(), capture_output=True,
                          check=True).stdout.decode().strip()


quoted = lambda text: "'" + text.replace("'", "''") + "'"
sql("create extension pgcrypto")
for password in [*FOUR, LONG_UTF8]:
    for form, kind, count in [("bcrypt $2a$", "bf", 5), ("MD5-crypt $1$", "md5", 0), ("extended DES _", "xdes", 727), ("DES", "des", 0)]:
        count = f", {count}" if count else ""
        row("pgcrypto", form, password, sql(f"select crypt({quoted(password)}, gen_salt('{kind}'{count}))"))
    row("pgcrypto", "bcrypt $2x$", password, sql(f"select crypt({quoted(password)}, '$2x$04$abcdefghijklmnopqrstuu')"))
# SASLprep: mapped to nothing, spaces, NFKC, forbidden, bidirectional, not assigned in Unicode 3.2.
PREPARED = ["I\u00adX", "a\u00a0b", "a\u3000b", "a\u200bb", "\u2168", "ｆｕｌｌ", "ﬁ", "e\u0301", "\u1100\u1161", "a\u0007b", "ä\u0007b",
            "\u0627\u0031", "\u0627\u0031\u0628", "\u0627a", "\u05d0\u05d1", "\u05d0ä\u05d1", "\u00ad", "\u00ad\u200d", "\ue000", "\U000e0001",
            "a\u0340", "a\u200e", "\ufffd", "\u0221", "🔑", "ẞ", "½", "Å", "\u1fbf", "\u2126", "가", "ก", "\ufdfa", "a\u034fb", "\u1806x", "²"]
for number, password in enumerate([ASCII, UTF8, LONG, *PREPARED]):
    role = f"user {number}"
    hashed = sql(f"""set password_encryption = 'scram-sha-256'; create role "{role}" password {quoted(password)};
                     select rolpassword from pg_authid where rolname = '{role}'""")
    row("PostgreSQL", "PostgreSQL SCRAM-SHA-256", password, hashed)
for number, password in enumerate([ASCII, UTF8, LONG]):
    role = f"Märta {number}"
    hashed = sql(f"""set password_encryption = 'md5'; create role "{role}" password {quoted(password)};
                     select rolpassword from pg_authid where rolname = '{role}'""")
    row("PostgreSQL", "PostgreSQL md5", password, hashed, role)
