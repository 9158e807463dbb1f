//! Two machines with a cable between them: network namespaces, of which nobody else knows. What is a file, such as a
//! Unix socket, is the same on both.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::cluster::run;

/// Addresses of the machine where the server is.
pub const SERVER: &str = "192.0.2.1";
pub const SERVER6: &str = "2001:db8::1";
/// Addresses of the machine where the client is.
pub const CLIENT: &str = "192.0.2.2";
pub const CLIENT6: &str = "2001:db8::2";

pub struct Network {
    pub server: Machine,
    pub client: Machine,
}

/// A network namespace, and the process that keeps it.
pub struct Machine {
    keeper: Child,
}

impl Network {
    pub fn new() -> Self {
        let (server, client) = (Machine::new(), Machine::new());
        let pid = client.keeper.id().to_string();
        server.ip(&[
            "link", "add", "name", "cable", "type", "veth", "peer", "name", "cable", "netns", &pid,
        ]);
        for (machine, addresses) in [(&server, [SERVER, SERVER6]), (&client, [CLIENT, CLIENT6])] {
            machine.ip(&["address", "add", &format!("{}/24", addresses[0]), "dev", "cable"]);
            // Nobody else has it: there is nothing to detect.
            let v6 = format!("{}/64", addresses[1]);
            machine.ip(&["-6", "address", "add", &v6, "dev", "cable", "nodad"]);
            machine.ip(&["link", "set", "lo", "up"]);
            machine.ip(&["link", "set", "cable", "up"]);
        }
        Self { server, client }
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

impl Machine {
    fn new() -> Self {
        // It ends with its standard input, whatever becomes of the test.
        let mut keeper = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo && exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("unshare, of util-linux, is missing: {error}"));
        let mut ready = [0];
        if keeper.stdout.as_mut().unwrap().read_exact(&mut ready).is_err() {
            let mut why = String::new();
            keeper.stderr.as_mut().unwrap().read_to_string(&mut why).unwrap();
            panic!(
                "no network namespace, without which nothing is remote: run the tests as root: {why}"
            );
        }
        Self { keeper }
    }

    fn ip(&self, args: &[&str]) {
        // Invariant of these tests: iproute2 is installed, and the kernel has veth.
        run(self.command(Path::new("ip"), None).args(args));
    }

    /// A program on this machine, as root or as another user.
    pub fn command(&self, program: &Path, user: Option<(u32, u32)>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.keeper.id()));
        if let Some((uid, gid)) = user {
            command.arg(format!("--setuid={uid}")).arg(format!("--setgid={gid}"));
        }
        command.arg("--").arg(program);
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
