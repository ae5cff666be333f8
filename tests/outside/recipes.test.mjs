// The guide's recipes, run as they are written but for the server's address, through restarts of the server and of themselves.
import test from 'node:test';
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { existsSync, readFileSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { freePort, launch, openStream, post, request, run, scratch, startServer, until, within } from '../common/support.mjs';
import { caddy } from './proxies.mjs';
import { block, section } from './readme.mjs';

const guide = 'src/guide/recipes.md';

/** A server that keeps its messages and can be started anew, in a folder where a recipe runs. */
async function setUp(t) {
  const ends = [];
  // Before the folder is removed in which they write.
  t.after(() => Promise.all(ends.map((end) => end())));
  const folder = scratch();
  const listen = `127.0.0.1:${await freePort()}`;
  const options = ['--data', path.join(folder, 'data'), '--message-rate', '0'];
  let server = await startServer(t, options, { listen });
  return {
    folder, url: server.url,
    async restart() {
      await within(server.kill(), 'the server to end');
      server = await startServer(t, options, { listen });
    },
    /** Starts the recipe below a heading; replaces more of its text. */
    start(heading, language, more = {}) {
      let text = section(heading, guide).match(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'm'))[1];
      for (const [from, to] of Object.entries({ 'http://localhost:8080': server.url, ...more })) {
        assert.ok(text.includes(from), from);
        text = text.replaceAll(from, to);
      }
      const file = path.join(folder, 'recipe');
      writeFileSync(file, text, { mode: 0o755 });
      // With all that it has started, as Ctrl+C or systemd would end it.
      const program = launch(file, [], { cwd: folder, detached: true });
      const end = async () => {
        if (program.child.exitCode === null && program.child.signalCode === null) process.kill(-program.child.pid);
        await within(program.ended, 'the recipe to end');
      };
      ends.push(end);
      return end;
    },
    async texts(room = 'lobby') {
      return (await request(`${server.url}/chat/${room}/messages`)).json().messages.map(({ text }) => text);
    },
    async joined(name) {
      await until(async () => (await request(`${server.url}/chat/dev/members`)).json().members.includes(name), `${name} to be there`);
    },
  };
}

const bots = {
  bash: { heading: 'A bot in bash', name: 'clock', asks: '!time', answers: /^It is \d\d:\d\d:\d\d\.$/, rewind: ['position', 'lastEventId=0-0\n'] },
  python: { heading: 'A bot in Python', name: 'parrot', asks: '!say @passwd "ü"', answers: /^@passwd "ü"$/, rewind: ['parrot.json'] },
};
for (const [language, { heading, name, asks, answers, rewind: [state, beginning] }] of Object.entries(bots)) {
  test(`the bot in ${language} answers each message once, through restarts of both`, async (t) => {
    const site = await setUp(t);
    const answered = async (room) => (await site.texts(room)).filter((text) => answers.test(text)).length;
    await post(site.url, asks, { room: 'dev' });
    let end = site.start(heading, language);
    await site.joined(name);
    const asked = async (room, count) => {
      await post(site.url, asks, { room });
      await until(async () => (await answered(room)) === count, `answer ${count} in ${room}`);
    };
    await asked('dev', 1);
    await site.restart();
    await asked('lobby', 1);
    await end();
    await post(site.url, asks, { room: 'dev' });
    end = site.start(heading, language);
    await until(async () => (await answered('dev')) === 2, 'what was asked while the bot was away');
    // Whatever it takes for new, it has the keys of its answers.
    await end();
    const file = path.join(site.folder, state);
    const kept = readFileSync(file, 'utf8');
    writeFileSync(file, beginning ?? JSON.stringify({ ...JSON.parse(kept), position: '0-0' }));
    site.start(heading, language);
    await asked('lobby', 2);
    // The question before the bot's first start is now asked of it too.
    assert.deepEqual([await answered('dev'), await answered('lobby')], [3, 2]);
  });
}

test('a mention reaches the phone, also one of while the server was away', async (t) => {
  const site = await setUp(t);
  const received = [];
  const phones = createServer((request, response) => {
    let text = '';
    request.setEncoding('utf8').on('data', (part) => { text += part; }).on('end', () => {
      received.push([request.method, request.url, request.headers.title, text]);
      response.end('{}');
    });
  }).listen(0, '127.0.0.1');
  t.after(() => phones.close());
  await new Promise((resolve) => phones.once('listening', resolve));
  const topic = `http://127.0.0.1:${phones.address().port}/secret`;
  await post(site.url, '@ada before', { name: 'eve' });
  site.start('A mention on the phone', 'bash', { 'https://ntfy.sh/a-topic-that-nobody-guesses': topic });
  await until(async () => (await request(`${site.url}/chat/dev/members`)).json().listenerCount === 1, 'it to listen');
  const told = (text) => ['POST', '/secret', 'Chat', text];
  await post(site.url, 'ada is not asked', { name: 'eve' });
  await post(site.url, '@/etc/passwd @Ada, come', { name: 'eve', room: 'dev' });
  await until(() => received.length > 0, 'the first mention');
  await site.restart();
  await post(site.url, 'hello @ada', { name: 'eve' });
  await until(() => received.length > 1, 'the second mention');
  assert.deepEqual(received, [told('eve in dev: @/etc/passwd @Ada, come'), told('eve in lobby: hello @ada')]);
});

test('the archive has everything once, in order, and both can be searched', async (t) => {
  const site = await setUp(t);
  const archive = () => readFileSync(path.join(site.folder, 'archive.jsonl'), 'utf8').trim().split('\n').map((line) => JSON.parse(line));
  const texts = () => archive().map(({ text }) => text).filter(Boolean);
  const headers = { Cookie: `chatroom-session=${'0'.repeat(32)}` };
  const first = (await post(site.url, 'disk full', { headers })).json();
  let end = site.start('An archive of everything', 'bash');
  await until(() => texts().length === 1, 'the past');
  assert.equal((await request(`${site.url}/chat/lobby/messages/${first.eventId}`, { method: 'DELETE', headers })).status, 200);
  await post(site.url, 'a new Disk', { room: 'dev' });
  await until(() => texts().length === 2, 'a message');
  await site.restart();
  await post(site.url, 'more disks');
  await until(() => texts().length === 3, 'what was said after a restart');
  await end();
  await post(site.url, 'meanwhile');
  end = site.start('An archive of everything', 'bash');
  await until(() => texts().length === 4, 'what was said while it was away');
  await post(site.url, 'last');
  await until(() => texts().length === 5, 'the last message');
  assert.deepEqual(texts(), ['disk full', 'a new Disk', 'more disks', 'meanwhile', 'last']);

  const search = async (containing, from, to) => {
    const command = block('sh', containing, guide).replace(from, to);
    const { code, stdout, stderr } = await run('bash', ['-euo', 'pipefail', '-c', command], { cwd: site.folder });
    assert.equal(code, 0, stderr);
    return stdout;
  };
  const line = (room, text) => `\\d{4}-\\d\\d-\\d\\dT[\\d:]+Z ${room} bot: ${text}\n`;
  // What was removed has left the journal, and not the archive.
  const found = [line('dev', 'a new Disk'), line('lobby', 'more disks')].join('');
  assert.match(await search('todate', '', ''), new RegExp(`^${found}$`));
  assert.match(await search('todate', 'data/messages.jsonl', 'archive.jsonl'), new RegExp(`^${line('lobby', 'disk full')}${found}$`));
  assert.equal(await search('.messages[] | select(.text', 'localhost:8080', site.url), 'bot: more disks\n');
  assert.equal(archive().find(({ removed }) => removed).removed, first.eventId);
});

test('a picture is shared by its link, and no file acts in the name of its site', async (t) => {
  const server = await startServer(t);
  const folder = scratch();
  const site = await caddy(t, block('caddy', 'file_server', guide).replace('/srv/files', folder));
  const via = { address: '127.0.0.1' };
  await until(() => { via.ca = site.ca(); return true; }, 'the certificate');
  const file = path.join(scratch(), 'share');
  const script = block('bash', 'basenc', guide).replace('/srv/files', folder).replace('http://localhost:8080', server.url).replace('files.example.org', `files.example.org:${site.https}`);
  writeFileSync(file, script, { mode: 0o755 });
  const share = async (name, content, ...room) => {
    const given = path.join(path.dirname(file), name);
    writeFileSync(given, content, { mode: 0o600 });
    const { code, stdout, stderr } = await run(file, [given, ...room]);
    assert.deepEqual([code, stdout], [0, ''], stderr);
    const { messages } = (await request(`${server.url}/chat/${room[0] ?? 'lobby'}/messages`)).json();
    return messages.at(-1).text;
  };
  const link = await share('a picture.png', 'picture', 'dev');
  assert.match(link, /^https:\/\/files\.example\.org:\d+\/[a-z2-7]{24}\.png$/);
  const fetched = await until(() => request(link, via), 'Caddy');
  assert.deepEqual([fetched.text, fetched.headers['content-type']], ['picture', 'image/png']);
  const page = await request(await share('page.html', '<script>alert(1)</script>'), via);
  assert.deepEqual([page.status, page.headers['content-security-policy'], page.headers['x-content-type-options']], [200, 'sandbox', 'nosniff']);
  assert.match(await share('no extension', 'x'), /\/[a-z2-7]{24}$/);
  assert.equal((await request(new URL('/', link).href, via)).status, 404);

  const old = path.join(folder, path.basename(link));
  utimesSync(old, 0, 0);
  const { code, stderr } = await run('bash', ['-ec', block('sh', '-mtime', guide).replace('/srv/files', folder)]);
  assert.equal(code, 0, stderr);
  assert.deepEqual([existsSync(old), readdirSync(folder).length], [false, 2]);
  const folders = block('sh', 'install -d -o', guide);
  const made = await run('bash', ['-ec', `sudo() { "$@"; }; ${folders.replace('/srv/files', `${folder}/new`)}`]);
  assert.deepEqual([made.code, existsSync(`${folder}/new`)], [0, true], made.stderr);
});

for (const [kind, containing, options, as] of [
  ['author', 'moderator-password', ['--moderator-password-file', 'moderator-password'], (name) => ({ Cookie: `chatroom-session=${name.charCodeAt(0).toString(16).repeat(16)}` })],
  ['user', 'Remote-User', ['--trusted-proxy', '127.0.0.1', '--user-header', 'Remote-User', '--moderator', 'ann'], (name) => ({ 'Remote-User': name })],
]) {
  test(`one ${kind} is shut out`, async (t) => {
    const folder = scratch();
    writeFileSync(path.join(folder, 'moderator-password'), 'open-sesame\n', { mode: 0o600 });
    const server = await startServer(t, options, { cwd: folder });
    const join = async (name) => {
      const stream = await openStream(`${server.url}/chat?name=${name}`, { headers: as(name) });
      await stream.next('caught-up');
      return stream;
    };
    const [eve, bob] = [await join('eve'), await join('bob')];
    for (const name of ['eve', 'bob', 'eve']) assert.equal((await post(server.url, `by ${name}`, { name, headers: as(name) })).status, 201);
    const commands = section('Shutting one person out', guide).match(/^```sh\n[^]*?^```$/gm).find((text) => text.includes(containing)).replaceAll(/^```.*$/gm, '');
    const { code, stdout, stderr } = await run('bash', ['-euo', 'pipefail', '-c', commands.replaceAll('localhost:8080', new URL(server.url).host)], { cwd: folder });
    assert.equal(code, 0, stderr);
    const ban = JSON.parse(stdout);
    assert.deepEqual([ban.name, ban.address], ['eve', kind === 'author']);
    while (await eve.next());
    assert.equal((await post(server.url, 'again', { name: 'eve', headers: as('eve') })).json().error, 'banned');
    const { messages } = (await request(`${server.url}/chat/lobby/messages`, { headers: as('bob') })).json();
    assert.deepEqual(messages.map(({ text }) => text), kind === 'author' ? ['by bob'] : ['by eve', 'by bob', 'by eve']);
    // Both have one address here, which only the author's ban names.
    if (kind === 'user') {
      assert.equal((await post(server.url, 'still here', { name: 'bob', headers: as('bob') })).status, 201);
      while ((await bob.next('new-message')).data.text !== 'still here');
    }
  });
}
