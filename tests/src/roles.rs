//! The roles of a server, which no dump of a database has.

use crate::Cluster;
use crate::cluster::run;

/// Roles of one server as SQL, as `pg_dumpall --globals-only` writes them.
pub fn globals(cluster: &Cluster) -> String {
    let mut dumpall = cluster.command("pg_dumpall");
    let output = run(dumpall.args(["--globals-only", "--no-role-passwords"]));
    let sql = String::from_utf8(output.stdout).unwrap();
    // Every server has its superuser already. Newer minors add lines that only psql understands.
    let ours = |line: &&str| !line.contains(" postgres") && !line.starts_with('\\');
    sql.lines().filter(ours).collect::<Vec<_>>().join("\n")
}
