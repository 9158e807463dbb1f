# password_verify, with the habits of PGXS: PG_CONFIG names the server.
#
#   make demo               see it work, in a throw-away cluster   (KEEP=1 leaves it running)
#   make demo-keeper        the same for the keeper, with a mail server of its own
#   make test               set up, build, install, run every test
#   make install            build in release mode and install into the server of PG_CONFIG
#   make installcheck       run the tests against what is installed
#                           (WITHOUT_IMPORT=1 leaves other systems' hashes out: less code to trust)
#   make uninstall          remove it from there again
#   make install-keeper     build pv-keeper and install it on this machine, as a service: docs/keeper.md
#   make uninstall-keeper   remove it again, and leave its configuration
#   make test-keeper-long   kill keeper, PostgreSQL and mail server fifty times each
#   make attacks            run the attacks on the throttle and the audit: docs/attacks.md
#   make tampering          tamper with every column of every table: docs/tampering.md
#   make hostile-servers    what hostile mail servers do, and what comes of it: docs/hostile-servers.md
#   make figures            measure what the throttle and the audit cost: docs/figures.md
#   make keeper-figures     what the keeper's tables cost: docs/keeper-figures.md
#   make keeper-program-figures  what the keeper's program costs: docs/keeper-program-figures.md
#   make redaction-figures  what redaction costs: docs/redaction-figures.md
#   make windows            what PostgreSQL's logs and views show of passwords: docs/windows.md
#   make doctor             what each rule of pv_doctor finds, and what mends it: docs/doctor.md
#   make neighbours         tests beside pg_stat_statements, auto_explain and pgaudit, with redaction and without
#   make million            a million rows imported beside logins: docs/million.md
#   make scale              questions of the auditor with up to twenty million events: docs/scale.md
#   make privacy            how users are forgotten, and where their names still are: docs/privacy.md
#   make verification       what verifying and the keyring cost: docs/verification.md
#   make bench              everything against other libraries and applications: docs/bench/
#   make siem-figures       what events cost that a SIEM reads: docs/siem-figures.md
#   make tables             print the rules' own tables into docs/reference.md and docs/siem.md
#   make lint               formatting, clippy, pgspot, and the rules of the house
#
# All can be run as root and as an ordinary user, who is asked for sudo where a folder is not theirs,
# and again. demo and test install into that server too; the clusters they start are their own.

export PG_CONFIG KEEP DESTDIR WITHOUT_IMPORT

.PHONY: all bench tables privacy demo demo-keeper figures million scale keeper-figures keeper-program-figures redaction-figures siem-figures windows doctor neighbours verification attacks tampering hostile-servers test setup build install uninstall installcheck install-keeper uninstall-keeper test-keeper-long lint clean

all: build

setup:
	@scripts/setup.sh

build: setup
	@scripts/build.sh

install: build
	@scripts/install.sh

uninstall:
	@scripts/install.sh --remove

demo: install
	@scripts/demo.sh

demo-keeper: install
	@scripts/mail-servers.sh --dovecot
	@scripts/demo_keeper.sh

# Without the set-up: where the keeper runs, there need not be a server.
install-keeper:
	@scripts/install_keeper.sh

uninstall-keeper:
	@scripts/install_keeper.sh --remove

attacks: install
	@scripts/attacks.sh

tampering: install
	@scripts/tampering.sh

hostile-servers: install
	@scripts/mail-servers.sh
	@scripts/hostile_servers.sh

figures: install
	@scripts/figures.sh

siem-figures: install
	@scripts/siem.sh

keeper-figures: install
	@scripts/keeper.sh

keeper-program-figures: install
	@scripts/mail-servers.sh --dovecot
	@scripts/keeper_program.sh

redaction-figures: install
	@scripts/redaction_figures.sh

windows: install
	@scripts/pgaudit.sh
	@scripts/windows.sh

doctor: install
	@scripts/doctor.sh

neighbours: install
	@scripts/neighbours.sh

privacy: install
	@scripts/privacy.sh

million: install
	@scripts/million.sh

scale: install
	@scripts/scale.sh

verification: install
	@scripts/verification.sh

bench: install
	@scripts/bench.sh

test: install
	@scripts/installcheck.sh

test-keeper-long: install
	@scripts/mail-servers.sh
	@bash -c '. scripts/lib.sh; need_pg_config; say "killing each of the three 50 times (usually 7 minutes, once it is built)"; \
	    PV_KILLS=50 exec cargo test --locked -p password-verify-keeper --test kills -- --nocapture'

installcheck:
	@scripts/installcheck.sh

tables:
	@scripts/tables.sh

lint: setup
	@scripts/lint.sh

clean:
	cargo clean
