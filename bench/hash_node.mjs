// A candidate: npm argon2 or @node-rs/argon2, told on stdin what to hash (crates/argon2/examples/hash_worker.rs says how).
import readline from "node:readline";

const password = "correct horse battery staple";
const salt = Buffer.from("sixteenbytesalt!");

// Only what is measured is loaded: memory is measured too.
async function candidate(name) {
    if (name === "argon2") {
        const { default: argon2 } = await import("argon2");
        const type = argon2.argon2id;
        return (m, t, p) =>
            argon2.hash(password, { raw: true, type, salt, memoryCost: m, timeCost: t, parallelism: p, hashLength: 32 });
    }
    const { hashRaw, Algorithm } = await import("@node-rs/argon2");
    const algorithm = Algorithm?.Argon2id ?? 2;
    return (m, t, p) =>
        hashRaw(password, { algorithm, salt, memoryCost: m, timeCost: t, parallelism: p, outputLen: 32 });
}

const hash = await candidate(process.argv[2]);
for await (const line of readline.createInterface({ input: process.stdin })) {
    const [m, t, p, n] = line.split(" ").map(Number);
    const wall = [];
    const cpu = [];
    let tag;
    for (let i = 0; i < n; i++) {
        const start = process.hrtime.bigint();
        const before = process.cpuUsage();
        tag = await hash(m, t, p);
        const used = process.cpuUsage(before);
        wall.push(Number(process.hrtime.bigint() - start));
        cpu.push((used.user + used.system) * 1000);
    }
    console.log(JSON.stringify({ wall, cpu, tag: tag.toString("hex") }));
}
