//! IMAP (RFC 9051, RFC 3501): what the keeper does with a mailbox. It reads, and changes nothing.
//!
//! | module | |
//! | --- | --- |
//! | [`ask`] | what a job may ask for |
//! | [`login`] | the connection and the secret |
//! | [`sasl`] | how the secret is shown |
//! | [`exchange`] | what is sent and what comes back |
//! | [`talk`] | one command and its answer |
//! | [`answer`] | what a server's answers mean |
//! | [`progress`] | how far it has come |
//! | [`fetch`] | new mail |
//! | [`mails`] | what is asked of mails, and what comes |
//! | [`attachment`], `transfer` | one part of one mail |

use password_verify_core::rules::secret::Secret;
use tokio::time::{Instant, timeout_at};

use crate::connector::{Connector, Desk};
use crate::hosts::{Pass, Route};
use crate::job::{Destination, Job, Mechanism, Protocol};
use crate::oauth::{self, Access};
use crate::trouble::Trouble;
use crate::ways::Ways;
use ask::Ask;
use fetch::{Round, Wanted};
use talk::Talk;

mod answer;
mod ask;
mod attachment;
mod exchange;
mod fetch;
mod login;
mod mails;
mod progress;
mod sasl;
mod talk;
mod transfer;
mod utf7;

/// How often one job connects anew: after a connection that broke, and for mails that cannot be read.
const CONNECTIONS: usize = 20;

/// IMAP.
pub struct Imap {
    pub ways: Ways,
    /// The longest time for a job.
    pub patience: core::time::Duration,
}

/// What is shown to the server, and how to get another one.
struct Shown {
    secret: Secret,
    access: Option<Access>,
}

impl Connector for Imap {
    async fn run<D: Desk>(&self, job: &Job, desk: &mut D) -> Result<(), Trouble> {
        if !matches!(job.destination.protocol, Protocol::Imaps | Protocol::Imap) {
            return Err(Trouble::Unknown);
        }
        let ask = Ask::of(&job.what)?;
        let end = Instant::now() + self.patience;
        // Before the secret is opened: a host that is not allowed is not worth an opening, and nobody waits for a turn
        // with an open secret.
        self.ways.dialer.is_listed(&job.destination.host, job.destination.port)?;
        let pass = self.enter(job, end).await?;
        let mut shown = Shown { secret: desk.open().await?, access: None };
        match &ask {
            Ask::Verify {} => {
                let (talk, pass) = self.session(pass, job, &mut shown, desk, end).await?;
                leave(talk, pass, Ok(()), end).await
            }
            Ask::Fetch { mailbox, since, parts, max_bytes, max_mails } => {
                let since = since.as_deref();
                let (parts, max_bytes, max_mails) = (*parts, *max_bytes, *max_mails);
                let wanted = Wanted { mailbox, since, parts, max_bytes, max_mails };
                self.fetch(wanted, pass, job, &mut shown, desk, end).await
            }
            Ask::Attachment { mailbox, uidvalidity, uid, part } => {
                let (mut talk, pass) = self.session(pass, job, &mut shown, desk, end).await?;
                let which = (mailbox.as_str(), *uidvalidity, *uid, part.as_str());
                let done = attachment::read(&mut talk, job, which, desk).await;
                leave(talk, pass, done, end).await
            }
        }
    }
}

impl Imap {
    async fn fetch<D: Desk>(
        &self,
        wanted: Wanted<'_>,
        mut pass: Pass,
        job: &Job,
        shown: &mut Shown,
        desk: &mut D,
        end: Instant,
    ) -> Result<(), Trouble> {
        let mut round = Round::new(wanted);
        let mut connections = 1;
        loop {
            let (mut talk, held) = self.session(pass, job, shown, desk, end).await?;
            let done = round.read(&mut talk, job, desk).await;
            let Err(why) = leave(talk, held, done, end).await else { return Ok(()) };
            // What was read so far counts. A token whose time was over in the middle ends here as well.
            let worth_it = round.go_on(why, desk).await?;
            if !worth_it {
                return Err(why);
            }
            // It has come further with each of them, and goes on when it is tried again.
            if connections >= CONNECTIONS {
                return Err(Trouble::OutOfTime);
            }
            connections += 1;
            pass = self.enter(job, end).await?;
        }
    }

    async fn enter(&self, job: &Job, end: Instant) -> Result<Pass, Trouble> {
        let turn = self.ways.hosts.enter(Route::of(&job.destination));
        timeout_at(end, turn).await.unwrap_or(Err(Trouble::OutOfTime))
    }

    /// Connects and logs in.
    async fn session<D: Desk>(
        &self,
        mut pass: Pass,
        job: &Job,
        shown: &mut Shown,
        desk: &mut D,
        end: Instant,
    ) -> Result<(Talk, Pass), Trouble> {
        let to = &job.destination;
        let with_tokens = matches!(to.mechanism, Mechanism::OauthBearer | Mechanism::Xoauth2);
        let mut is_fresh = false;
        loop {
            if with_tokens && shown.access.as_ref().is_none_or(Access::is_over) {
                // A provider may be slow, and be whoever the user says: nobody waits there with a turn here.
                drop(pass);
                shown.access =
                    Some(oauth::renew(&self.ways, to, &mut shown.secret, desk, end).await?);
                is_fresh = true;
                pass = self.enter(job, end).await?;
            }
            let secret = shown.access.as_ref().map_or(&shown.secret, |access| &access.token);
            match self.log_in(to, secret, &mut pass, end).await {
                Ok(talk) => return Ok((talk, pass)),
                // One that was good before may be over earlier than it was said to be.
                Err(Trouble::Refused) if with_tokens && !is_fresh => shown.access = None,
                Err(why) => {
                    pass.back(Some(why));
                    return Err(why);
                }
            }
        }
    }

    async fn log_in(
        &self,
        to: &Destination,
        secret: &Secret,
        pass: &mut Pass,
        end: Instant,
    ) -> Result<Talk, Trouble> {
        let connected = timeout_at(end, login::connect(&self.ways, to, end)).await;
        let mut client = in_time(connected.unwrap_or(Err(Trouble::OutOfTime)), end)?;
        pass.connected();
        in_time(login::log_in(&mut client, to, secret).await, end)?;
        Ok(Talk::new(client))
    }
}

/// Ends a session. After trouble there is nothing more to say.
async fn leave(
    talk: Talk,
    pass: Pass,
    done: Result<(), Trouble>,
    end: Instant,
) -> Result<(), Trouble> {
    let done = in_time(done, end);
    if done.is_ok() {
        talk.leave().await;
    }
    pass.back(done.err());
    done
}

/// What breaks when the job's time is over breaks for that, and says nothing of the server or of a mail.
fn in_time<T>(done: Result<T, Trouble>, end: Instant) -> Result<T, Trouble> {
    let of_time = |why| matches!(why, Trouble::Timeout | Trouble::Disconnected);
    match done {
        Err(why) if of_time(why) && Instant::now() >= end => Err(Trouble::OutOfTime),
        other => other,
    }
}
