#!/usr/bin/env python3
"""Tells users by mail what has happened to their credentials.

Reads the feed of password_verify (pv_events_after) from where it was left, and sends a mail for each change
whose transaction was committed. What was read and what is to be sent is in the database: see setup.sql.
Needs Python 3.8 and psql; the connection is that of the environment (PGHOST, PGUSER, PGSERVICE, ~/.pgpass).
"""

import argparse
import email.message
import email.utils
import json
import os
import signal
import smtplib
import subprocess
import sys
import time

# Rows of the feed in one transaction.
PAGE = 1000


def say(text):
    print(f"mail-on-change: {text}", file=sys.stderr, flush=True)


class Failed(Exception):
    """The database could not be asked."""


def ask(sql):
    """The rows of a statement, each as a dictionary. Nothing is ever put into its text but numbers of ours."""
    command = ["psql", "--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--no-password"]
    command += ["--set=ON_ERROR_STOP=1", f"--command={sql}"]
    environment = dict(os.environ, PGCLIENTENCODING="UTF8", PGAPPNAME="mail-on-change")
    environment.setdefault("PGCONNECT_TIMEOUT", "10")
    try:
        done = subprocess.run(command, capture_output=True, env=environment, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(str(error)) from error
    if done.returncode != 0:
        raise Failed(done.stderr.decode(errors="replace").strip())
    return [json.loads(line) for line in done.stdout.decode().splitlines() if line]


def take():
    """Reads the feed to its end."""
    while True:
        page = ask(f"SELECT row_to_json(t) FROM mail_on_change.take({PAGE}) t")[0]
        if page["problem"]:
            say(f"users may not be told of everything: {page['problem']}")
        if page["unknown"]:
            say(f"{page['unknown']} changes are of users who have no address")
        if page["events"] < PAGE:
            return


def message(mail, sender):
    if len(email.utils.getaddresses([mail["address"]])) != 1:
        raise ValueError("not one address")
    it = email.message.EmailMessage()
    it["From"], it["To"], it["Subject"] = sender, mail["address"], mail["subject"]
    it["Date"] = email.utils.localtime()
    # The same however often it is sent.
    domain = email.utils.parseaddr(sender)[1].rpartition("@")[2]
    it["Message-ID"] = f"<{mail['id']}.{mail['event']}.password-verify@{domain}>"
    it["Auto-Submitted"] = "auto-generated"
    it.set_content(mail["body"])
    return it


def connect(options):
    host, _, port = options.smtp.rpartition(":")
    server = smtplib.SMTP(host, int(port), timeout=30)
    if options.starttls:
        import ssl

        server.starttls(context=ssl.create_default_context())
    if options.smtp_user:
        with open(options.smtp_password_file, encoding="utf-8") as file:
            server.login(options.smtp_user, file.readline().rstrip("\n"))
    return server


def send(options):
    """Sends what is due. A mail whose row is not deleted comes again, so it is deleted when a server has it."""
    server = None
    try:
        while True:
            mails = ask("SELECT row_to_json(m) FROM mail_on_change.next_mail() m")
            if not mails:
                return
            mail = mails[0]
            number = int(mail["id"])
            try:
                it = message(mail, options.sender)
                server = server or connect(options)
                server.send_message(it)
            except REFUSED as error:
                # An address that is none, or that the server does not take. Others may be fine.
                why = type(error).__name__
                say(f"mail {number} was not taken: {why}")
                due = "'infinity'" if is_final(error) else "due_at"
                ask(f"UPDATE mail_on_change.mail SET problem = '{why}', due_at = {due} WHERE id = {number}")
                continue
            ask(f"DELETE FROM mail_on_change.mail WHERE id = {number}")
    finally:
        if server:
            server.close()


REFUSED = (ValueError, smtplib.SMTPNotSupportedError, smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError)


def is_final(error):
    """Is there no point in trying again?"""
    if isinstance(error, smtplib.SMTPDataError):
        return error.smtp_code >= 500
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return all(code >= 500 for code, _ in error.recipients.values())
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="sender", required=True, help="sender of all mails")
    parser.add_argument("--smtp", default="localhost:25", help="HOST:PORT of the mail server")
    parser.add_argument("--starttls", action="store_true", help="encrypt, and check the server's certificate")
    parser.add_argument("--smtp-user")
    parser.add_argument("--smtp-password-file")
    parser.add_argument("--every", type=float, default=5, help="seconds between two looks")
    parser.add_argument("--once", action="store_true", help="look once, as cron does")
    options = parser.parse_args()
    if bool(options.smtp_user) != bool(options.smtp_password_file):
        parser.error("--smtp-user and --smtp-password-file go together")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        try:
            take()
            send(options)
            failed = False
        except (Failed, OSError, smtplib.SMTPException) as error:
            say(f"{type(error).__name__}: {error}")
            failed = True
        if options.once:
            sys.exit(failed)
        time.sleep(options.every)


if __name__ == "__main__":
    main()
