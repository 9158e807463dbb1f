// An application in Node: reads the hash from its table and verifies it in libuv's threads. What it says and
// when: closed_loop.py.
import { verify } from "@node-rs/argon2";
import pg from "pg";

const config = JSON.parse(process.argv[2]);
const pool = new pg.Pool({ host: config.folder, user: "app", database: "shop", max: config.connections });
const sleep = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

const answered = new Set();
const latencies = [];
const others = {};
let measuring = false;

async function login(user) {
    const { rows } = await pool.query({
        name: "hash",
        text: "SELECT password_hash FROM users WHERE id = $1",
        values: [user],
    });
    return verify(rows[0].password_hash, config.password);
}

async function client(number) {
    for (;;) {
        const user = config.ids[Math.floor(Math.random() * config.ids.length)];
        const start = process.hrtime.bigint();
        let answer;
        try {
            answer = await login(user);
        } catch (error) {
            answer = error.name;
            await sleep(0.1);
        }
        answered.add(number);
        if (measuring && answer === true) {
            latencies.push(Number(process.hrtime.bigint() - start));
        } else if (measuring) {
            others[answer] = (others[answer] ?? 0) + 1;
        }
    }
}

// Its input ends when it is done, or the driver gone. At once: what is still in its queues is nobody's figure.
process.stdin.on("end", () => process.exit(0)).resume();
for (let number = 0; number < config.clients; number++) {
    client(number);
}
const warmUntil = performance.now() + config.warm_seconds * 1000;
await sleep(1);
while (answered.size < config.clients && performance.now() < warmUntil) {
    await sleep(0.05);
}
console.log("window");
const start = performance.now();
measuring = true;
await sleep(config.seconds);
measuring = false;
const seconds = (performance.now() - start) / 1000;
console.log(JSON.stringify({ seconds, latencies_ns: latencies, others }));
