// A real nginx and a real Caddy, for the guide's configurations. Each ends with the test that starts it.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { freePort, scratch, selfSigned, service } from '../common/support.mjs';
import { block } from './readme.mjs';

export const host = 'chat.example.org';

/** nginx with the content of an `http` block, inside a main configuration like Debian's. */
export function nginx(t, http, folder = scratch()) {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${folder}/${kind};`).join(' ');
  const file = path.join(folder, 'nginx.conf');
  writeFileSync(file, `daemon off; pid ${folder}/pid; error_log stderr; ${process.getuid() === 0 ? 'user root;' : ''}
    events { worker_connections 768; }
    http { access_log off; gzip on; ${temporary} ${http} }`);
  return service(t, 'nginx', ['-e', 'stderr', '-p', folder, '-c', file], { env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` } });
}

/** nginx with the guide's site. `change` may change the text of the site. */
export async function nginxSite(t, upstream, change = (site) => site) {
  const folder = scratch();
  const [http, https] = [await freePort(), await freePort()];
  const { key, certificate } = selfSigned(folder, host);
  const site = change(block('nginx', 'return 301'))
    .replace('listen 80;', `listen 127.0.0.1:${http};`)
    .replace('listen 443', `listen 127.0.0.1:${https}`)
    .replace(/(?<=ssl_certificate )\S+(?=;)/, certificate)
    .replace(/(?<=ssl_certificate_key )\S+(?=;)/, key)
    .replace('127.0.0.1:8080', `127.0.0.1:${upstream}`);
  return { program: nginx(t, site, folder), http, https, ca: () => readFileSync(certificate) };
}

/** Caddy with these sites. Its own certificate authority and free ports stand for the public ones. */
export async function caddy(t, sites, options = '') {
  const folder = scratch();
  const [http, https] = [await freePort(), await freePort()];
  const file = path.join(folder, 'Caddyfile');
  const here = `admin off\n local_certs\n skip_install_trust\n default_bind 127.0.0.1\n http_port ${http}\n https_port ${https}\n storage file_system ${folder}`;
  writeFileSync(file, `{\n ${here}\n${options}\n}\n${sites}`);
  const env = { ...process.env, HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder };
  // A graceful shutdown would first wait for its streams to end.
  const program = service(t, 'caddy', ['run', '--config', file, '--adapter', 'caddyfile'], { env, end: 'SIGKILL' });
  return { program, http, https, ca: () => readFileSync(path.join(folder, 'pki/authorities/local/root.crt')) };
}

/** Caddy with the guide's site. */
export function caddySite(t, upstream, { options, change = (site) => site } = {}) {
  const site = block('caddy', 'reverse_proxy 127.0.0.1:8080', 'src/guide/operating.md');
  return caddy(t, change(site).replace('127.0.0.1:8080', `127.0.0.1:${upstream}`), options);
}
