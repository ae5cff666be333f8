// What Prometheus reads: accepted by its own checker, and right for a load whose figures are known.
import test from 'node:test';
import assert from 'node:assert/strict';
import { openStream, post, request, run, scratch, startServer, until } from '../common/support.mjs';

/** Scrapes the metrics, checks them with promtool, and returns the figures by name and labels. */
async function scrape(url) {
  const { status, headers, text } = await request(`${url}/metrics`);
  assert.equal(status, 200);
  assert.equal(headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
  const checked = await run('promtool', ['check', 'metrics'], { input: text });
  assert.deepEqual(checked, { code: 0, stdout: '', stderr: '' });
  return Object.fromEntries(text.split('\n').filter((line) => line && !line.startsWith('#')).map((line) => {
    const space = line.lastIndexOf(' ');
    return [line.slice(0, space), Number(line.slice(space + 1))];
  }));
}

function assertFigures(figures, expected) {
  for (const [name, value] of Object.entries(expected)) assert.equal(figures[name], value, name);
}

test('the figures are those of the load', async (t) => {
  const server = await startServer(t, ['--data', scratch(), '--fsync', 'always', '--max-message', '100', '--history', '3', '--max-streams', '5']);
  const streams = [];
  for (const query of ['?name=ada', '?name=bob', '', '/dev?name=ada']) {
    const stream = await openStream(`${server.url}/chat${query}`);
    assert.ok(await stream.next('chat-room-connected'));
    streams.push(stream);
  }
  const ids = [];
  for (const text of ['one', 'two', 'three', 'four', 'five']) ids.push((await post(server.url, text)).json().eventId);
  const key = { headers: { 'Idempotency-Key': 'once' } };
  assert.deepEqual([await post(server.url, 'six', key), await post(server.url, 'six', key)].map(({ status }) => status), [201, 200]);
  assert.equal((await post(server.url, 'x'.repeat(101))).status, 413);
  assert.equal((await post(server.url, ' ')).status, 400);
  assert.equal((await post(server.url, 'mine?', { name: 'ADA' })).status, 409);
  assert.equal((await request(`${server.url}/nowhere`)).status, 404);
  for (const stream of streams.slice(0, 3)) for (let i = 0; i < 6; i += 1) await stream.next('new-message');

  const resumed = await openStream(`${server.url}/chat`, { headers: { 'Last-Event-ID': ids[3] } });
  assert.equal((await resumed.next('new-message')).data.text, 'five');
  assert.equal((await openStream(`${server.url}/chat`)).status, 503);
  resumed.close();
  await until(async () => (await scrape(server.url)).chatroom_streams === 4, 'the stream to be gone');
  const gap = await openStream(`${server.url}/chat`, { headers: { 'Last-Event-ID': ids[0] } });
  await gap.next('messages-missed');

  const figures = await scrape(server.url);
  assertFigures(figures, {
    chatroom_streams: 5, chatroom_members: 3, chatroom_listeners: 2, chatroom_rooms: 2,
    chatroom_messages_accepted_total: 6,
    'chatroom_messages_refused_total{code="too-large"}': 1, 'chatroom_messages_refused_total{code="bad-text"}': 1, 'chatroom_messages_refused_total{code="name-taken"}': 1,
    chatroom_resumes_total: 2, chatroom_gaps_told_total: 1, chatroom_catch_ups_total: 0, chatroom_stalled_writes_cut_total: 0,
    'chatroom_http_requests_total{route="chat",status="201"}': 6, 'chatroom_http_requests_total{route="chat",status="200"}': 7,
    'chatroom_http_requests_total{route="chat",status="413"}': 1, 'chatroom_http_requests_total{route="chat",status="400"}': 1,
    'chatroom_http_requests_total{route="chat",status="409"}': 1, 'chatroom_http_requests_total{route="chat",status="503"}': 1,
    'chatroom_http_requests_total{route="none",status="404"}': 1,
    chatroom_journal_syncs_total: 6,
  });
  // Besides the messages, clients may have received changes of members.
  assert.ok(figures.chatroom_deliveries_total >= 18, `${figures.chatroom_deliveries_total} deliveries`);
  assert.ok(figures.chatroom_history_bytes > 0 && figures.chatroom_journal_bytes > 0);
  assert.ok(figures.chatroom_journal_sync_seconds_total > 0);
  assert.ok(figures.process_resident_memory_bytes > 1e5 && figures.process_open_fds >= 5);
});

test('nothing that a visitor chooses becomes a label', async (t) => {
  const server = await startServer(t);
  await post(server.url, 'hello', { room: 'room-of-mine', name: 'name-of-mine' });
  await request(`${server.url}/path-of-mine`, { method: 'BREW' }).catch(() => {});
  await request(`${server.url}/chat`, { method: 'METHOD-OF-MINE' });
  const { text } = await request(`${server.url}/metrics`);
  assert.ok(!text.includes('of-mine') && !/method-of-mine|brew/i.test(text), text);
});
