// An OpenID provider for tests: tokens over TLS on one port, and what a test wants of it on another.
//
// Runs in the folder where the packages are installed, with CERTIFICATE, KEY, PORT and ADMIN_PORT in its environment.
import { readFileSync } from 'node:fs';
import { createServer as createAdmin } from 'node:http';
import { createServer } from 'node:https';
import { Provider } from 'oidc-provider';

const settings = { accessTtl: 3600, rotating: true, trouble: null, delay: 0, closing: false };
const counts = { token: 0, refused: 0, introspection: 0 };
const scope = 'offline_access mail';
const grants = ['refresh_token', 'authorization_code'];
const client = (client_id, token_endpoint_auth_method, more) => ({
  client_id, token_endpoint_auth_method, grant_types: grants, redirect_uris: ['https://localhost/back'], scope, ...more,
});

// The one that comes with it forgets all but the last thousand.
const stored = new Map();
class Adapter {
  constructor(model) { this.model = model; }
  key(id) { return `${this.model} ${id}`; }
  async upsert(id, payload) { stored.set(this.key(id), { ...payload }); }
  async find(id) { const found = stored.get(this.key(id)); return found && { ...found }; }
  async consume(id) { stored.get(this.key(id)).consumed = Math.floor(Date.now() / 1000); }
  async destroy(id) { stored.delete(this.key(id)); }
  async revokeByGrantId(grant) {
    for (const [key, value] of stored) if (value.grantId === grant) stored.delete(key);
  }
}

const provider = new Provider(`https://localhost:${process.env.PORT}`, {
  adapter: Adapter,
  clients: [
    client('keeper', 'client_secret_post', { client_secret: 'the keeper is known' }),
    client('public', 'none'),
    client('dovecot', 'client_secret_basic', { client_secret: 'dovecot' }),
  ],
  features: {
    devInteractions: { enabled: false },
    introspection: { enabled: true, allowedPolicy: () => true },
  },
  findAccount: (_, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
  rotateRefreshToken: () => settings.rotating,
  scopes: scope.split(' '),
  ttl: { AccessToken: () => settings.accessTtl, Grant: 86400, RefreshToken: 86400 },
});

const later = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

provider.use(async (ctx, next) => {
  const isToken = ctx.path === '/token';
  if (ctx.path.startsWith('/token/introspection')) counts.introspection += 1;
  if (!isToken) return next();
  counts.token += 1;
  await later(settings.delay);
  if (typeof settings.trouble === 'number') {
    ctx.status = settings.trouble;
    ctx.body = { error: 'temporarily_unavailable' };
    return undefined;
  }
  if (settings.trouble === 'cut before') return ctx.req.socket.destroy();
  await next();
  if (ctx.status >= 400) counts.refused += 1;
  if (settings.closing) ctx.set('Connection', 'close');
  // The token is rotated, and nobody learns of it.
  if (settings.trouble === 'cut after') ctx.req.socket.destroy();
  return undefined;
});

const admin = {
  '/counts': () => counts,
  '/settings': (changed) => Object.assign(settings, changed),
  async '/issue'({ account, clientId }) {
    const grant = new provider.Grant({ accountId: account, clientId });
    grant.addOIDCScope(scope);
    const grantId = await grant.save();
    const token = new provider.RefreshToken({
      accountId: account, client: await provider.Client.find(clientId), grantId, gty: 'authorization_code', scope,
    });
    return { grant: grantId, refresh_token: await token.save() };
  },
  async '/revoke'({ grant }) {
    const models = [provider.AccessToken, provider.RefreshToken];
    await Promise.all(models.map((model) => model.revokeByGrantId(grant)));
    await (await provider.Grant.find(grant))?.destroy();
    return {};
  },
};

const { CERTIFICATE, KEY, PORT, ADMIN_PORT } = process.env;
createServer({ cert: readFileSync(CERTIFICATE), key: readFileSync(KEY) }, provider.callback()).listen(+PORT, '127.0.0.1', () => {
  createAdmin(async (request, response) => {
    try {
      let body = '';
      for await (const part of request) body += part;
      response.end(JSON.stringify(await admin[request.url](JSON.parse(body))));
    } catch (error) {
      console.error(error);
      response.writeHead(500).end(String(error));
    }
  }).listen(+ADMIN_PORT, '127.0.0.1');
});
