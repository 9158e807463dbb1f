//! Prints the table of authenticators for docs/reference.md: `make tables`.

use password_verify_core::rules::event::{Action, Role};
use password_verify_core::rules::purpose::{Pool, Purpose, Work};
use password_verify_core::rules::reason::Reason;
use password_verify_core::rules::throttle::{OnRight, Payer};

fn name(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::LogIn => "password, to log in",
        Purpose::Change => "password, to change it",
        Purpose::Reset => "reset token",
        Purpose::Reuse => "new password, against former ones (`history`)",
        Purpose::Unlock => "vault password, to unlock the vault",
        Purpose::Vault => "vault password, to store or change",
        Purpose::Open => "a job's lease, to open its secret",
    }
}

fn paid_by(payer: Payer) -> Option<String> {
    let who = match payer {
        // The payer `Known` is never charged.
        Payer::Known => return None,
        Payer::Account => "account",
        Payer::Client => "client address",
        Payer::Caller => "login role",
        Payer::Chance => "user at that address, when account or role refuse",
        Payer::Comparison => "account's comparisons",
        Payer::Vault => "vault",
        Payer::Lease => "lease",
    };
    let then = match payer.on_right() {
        OnRight::Cleared => "all is forgiven",
        OnRight::Refunded => "given back",
        OnRight::Kept => "kept",
    };
    Some(format!("{who}: {then}"))
}

fn reason(reason: Option<Reason>) -> String {
    reason.map_or("no matter".into(), |reason| format!("`{}`", reason.as_str()))
}

fn main() {
    println!(
        "| what is tested | in the audit | work | who pays, and what a right one does to it | wrong | locked | disabled | expired | must change |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for purpose in Purpose::ALL {
        let conditions = purpose.conditions();
        let work = match conditions.work {
            Work::LookUp => "a look-up",
            Work::Hash => "hashes, each in a slot",
        };
        let payers: Vec<_> = conditions.payers.iter().copied().filter_map(paid_by).collect();
        let pool = match conditions.pool {
            Pool::Passwords => "",
            Pool::Tokens if conditions.payers.contains(&Payer::Client) => " (budgets of tokens)",
            Pool::Tokens => "",
            Pool::Vaults => " (budgets of vaults)",
        };
        println!(
            "| {} | `{}` | {work} | {}{pool} | `{}` | {} | {} | {} | {} |",
            name(purpose),
            conditions.action.as_str(),
            payers.join("; "),
            conditions.wrong.as_str(),
            reason(conditions.locked),
            reason(conditions.disabled),
            reason(conditions.expired),
            reason(conditions.must_change),
        );
    }
    println!();
    println!("| action in the audit | is | ends, when it commits |");
    println!("| --- | --- | --- |");
    for action in Action::ALL {
        let (is, ends) = match action.role() {
            Role::Chain => ("about the audit or the tables themselves", String::new()),
            Role::Attempt => ("a secret was tested", String::new()),
            Role::Change { clears } => {
                let ends = clears.iter().map(|payer| match payer {
                    Payer::Comparison => "comparisons charged to the account",
                    Payer::Vault => "waits and locks of the vault",
                    _ => "waits and locks of the account",
                });
                ("a change", ends.collect::<Vec<_>>().join(", "))
            }
        };
        println!("| `{}` | {is} | {ends} |", action.as_str());
    }
}
