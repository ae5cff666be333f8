// The pure core of the page: state, events, rows, text, answers. No browser, no server.
import test from 'node:test';
import assert from 'node:assert/strict';
import {
  LIMITS, WORDS, addOlder, adoptSnapshot, applyAnswer, applyEvent, applyRoster, backoffMillis, compareIds, followNewest, hueOf,
  isRoomName, judgeAnswer, mentions, moveView, newPending, newState, roomOfFragment, rowsOf, snapshotOf, tokensOf, wordsFor,
} from '../../www/chat.js';

const noon = new Date(2024, 4, 6, 12).getTime();
const message = (n, values = {}) => ({ eventId: `${1000 + n}-0`, room: 'lobby', name: 'ada', member: true, text: `text ${n}`, sentAt: noon + n, ...values });
const tell = (state, data, now) => applyEvent(state, { event: 'new-message', id: data.eventId, data }, now);
const connect = (state, values = {}, now = 0) => applyEvent(state, {
  event: 'chat-room-connected', id: '1000-0',
  data: { eventId: '1000-0', room: 'lobby', name: 'ada', members: ['ada'], memberCount: 1, listenerCount: 0, heartbeatSeconds: 15, ...values },
}, now);
const texts = (state) => state.entries.map(({ text, gap }) => (gap ? 'gap' : text));
const filled = (count) => {
  const state = newState('lobby', 'ada');
  connect(state);
  for (let n = 1; n <= count; n += 1) tell(state, message(n));
  return state;
};

test('ids compare as pairs of numbers', () => {
  assert.ok(compareIds('9-0', '10-0') < 0);
  assert.ok(compareIds('10-2', '10-10') < 0);
  assert.equal(compareIds('10-2', '10-2'), 0);
});

test('a message that comes twice is held once, and only the first time is news', () => {
  const state = filled(2);
  assert.equal(tell(state, message(3), 9000).length, 1);
  assert.equal(tell(state, message(3), 9000).length, 0);
  assert.deepEqual(texts(state), ['text 1', 'text 2', 'text 3']);
  assert.equal(state.position, '1003-0');
});

test('the backlog of a room just opened is not news, what comes after a reconnect is', () => {
  const state = newState('lobby', 'ada');
  connect(state, {}, 5000);
  assert.equal(tell(state, message(1), 5100).length, 0);
  connect(state, {}, 60_000);
  assert.equal(tell(state, message(2), 60_100).length, 1);
});

test('a gap is one line where it happened, and ids that a new life of the server reuses are not shown twice', () => {
  const state = filled(3);
  const missed = { event: 'messages-missed', id: '1-0', data: { reason: 'unknown', after: '1003-0', oldest: '2-0' } };
  applyEvent(state, missed);
  applyEvent(state, missed);
  tell(state, message(2));
  tell(state, message(-900, { text: 'new life' }));
  assert.deepEqual(texts(state), ['text 1', 'text 2', 'text 3', 'gap', 'new life']);
});

test('the roster: who left goes first, who joined comes then, a whole roster replaces it', () => {
  const state = newState('lobby');
  applyRoster(state, { members: ['Ada', 'bob'], memberCount: 2, listenerCount: 1 });
  const change = { left: ['bob', 'ADA'], joined: ['ada', 'Cleo'], memberCount: 2, listenerCount: 0 };
  applyRoster(state, change);
  applyRoster(state, change);
  assert.deepEqual([...state.members.values()].sort(), ['Cleo', 'ada']);
  applyRoster(state, { members: ['dan'], joined: [], left: [], memberCount: 700, listenerCount: 0 });
  assert.deepEqual([[...state.members.values()], state.memberCount], [['dan'], 700]);
});

test('what is rendered and what is held have their limits, and follow the newest', () => {
  const state = filled(LIMITS.held + 50);
  assert.equal(state.entries.length, LIMITS.held);
  assert.equal(state.ids.size, LIMITS.held);
  assert.equal(state.view.to, LIMITS.held);
  assert.equal(state.view.to - state.view.from, LIMITS.rendered);
});

test('a reader who scrolled up keeps what is rendered while others talk', () => {
  const state = filled(LIMITS.held);
  state.view.following = false;
  moveView(state, -LIMITS.held);
  const first = state.entries[state.view.from].text;
  for (let n = 1; n <= 100; n += 1) tell(state, message(LIMITS.held + n));
  assert.equal(state.entries[state.view.from].text, first);
  assert.equal(state.view.to - state.view.from, LIMITS.rendered);
  followNewest(state);
  tell(state, message(LIMITS.held + 101));
  assert.equal(state.entries.length, LIMITS.held);
  assert.equal(state.entries.at(-1).text, `text ${LIMITS.held + 101}`);
});

test('a reader who lets a whole memory of messages go by is taken to the newest, so that memory stays bounded', () => {
  const state = filled(400);
  state.view.following = false;
  for (let n = 401; n <= 2 * LIMITS.held + 400; n += 1) tell(state, message(n));
  assert.ok(state.entries.length <= LIMITS.held + 400);
});

test('older messages come before, once, and the end is noticed', () => {
  const state = newState('lobby', 'ada');
  for (let n = 100; n <= 120; n += 1) tell(state, message(n));
  const older = Array.from({ length: LIMITS.page }, (_, n) => message(n + 1));
  addOlder(state, older, LIMITS.page);
  assert.equal(state.entries.length, 120);
  assert.deepEqual([texts(state)[0], texts(state)[99], texts(state)[100]], ['text 1', 'text 100', 'text 101']);
  assert.equal(state.oldestReached, false);
  assert.deepEqual([state.view.from, state.view.to], [0, 120]);
  addOlder(state, [], LIMITS.page);
  assert.equal(state.oldestReached, true);
});

test('a tab that joins gets all, one that was there what it lacks, and nothing twice', () => {
  const leader = filled(5);
  const late = newState('lobby', 'ada');
  adoptSnapshot(late, structuredClone(snapshotOf(leader, late.position)));
  assert.deepEqual(texts(late), texts(leader));
  assert.deepEqual([...late.members.values()], ['ada']);
  assert.equal(late.view.to, 5);
  tell(leader, message(6));
  tell(leader, message(7));
  tell(late, message(7));
  const behind = newState('lobby', 'ada');
  for (const n of [1, 2, 3]) tell(behind, message(n));
  const lacking = snapshotOf(leader, behind.position);
  assert.equal(lacking.entries.length, 4);
  assert.equal(adoptSnapshot(behind, lacking).length, 4);
  assert.deepEqual(texts(behind), texts(leader));
});

test('a pending message goes when the stream has told of it, whichever comes first', () => {
  const answerFirst = filled(1);
  const item = newPending('k', 'ada', 'text 2');
  answerFirst.pending.push(item);
  item.status = 'sending';
  applyAnswer(answerFirst, item, judgeAnswer(201, { eventId: '1002-0' }));
  assert.equal(answerFirst.pending.length, 1);
  tell(answerFirst, message(2));
  assert.equal(answerFirst.pending.length, 0);

  const streamFirst = filled(1);
  const other = { ...newPending('k', 'ada', 'text 2'), status: 'sending' };
  streamFirst.pending.push(other);
  tell(streamFirst, message(2));
  assert.equal(other.seenAs, '1002-0');
  applyAnswer(streamFirst, other, judgeAnswer(201, { eventId: '1002-0' }));
  assert.equal(streamFirst.pending.length, 0);
});

test('a stored message that fell into a gap does not stay pending for ever', () => {
  const state = filled(1);
  state.pending.push({ ...newPending('k', 'ada', 'lost'), status: 'stored', eventId: '1005-0' });
  tell(state, message(9));
  assert.equal(state.pending.length, 0);
});

test('answers: stored, later with the time the server asks for, or failed', () => {
  assert.deepEqual(judgeAnswer(200, { eventId: '1-0' }), { kind: 'stored', eventId: '1-0' });
  assert.equal(judgeAnswer(0).kind, 'later');
  for (const status of [408, 429, 502, 503, 504]) assert.equal(judgeAnswer(status, null).kind, 'later');
  for (const status of [400, 401, 403, 404, 409, 413, 500, 507]) assert.equal(judgeAnswer(status, null).kind, 'failed');
  assert.equal(judgeAnswer(429, { error: 'too-many-messages' }, '7').millis, 7000);
  assert.equal(judgeAnswer(503, { error: 'storage-failed' }).kind, 'failed');
});

test('a lost answer is tried again with the same key, a refusal waits for a person', () => {
  const state = filled(1);
  const item = newPending('key-1', 'ada', 'hello');
  state.pending.push(item);
  applyAnswer(state, item, judgeAnswer(0), 1000);
  assert.deepEqual([item.status, item.key, item.tries], ['queued', 'key-1', 1]);
  assert.ok(item.retryAt > 1000);
  applyAnswer(state, item, judgeAnswer(429, { error: 'too-many-messages' }, '4'), 1000);
  assert.equal(item.retryAt, 5000);
  applyAnswer(state, item, judgeAnswer(413, { error: 'too-large' }), 1000);
  assert.deepEqual([item.status, item.error.code], ['failed', 'too-large']);
});

test('backoff grows to half a minute and is spread from the first try on', () => {
  assert.equal(backoffMillis(0, 0), 1000);
  assert.equal(backoffMillis(0, 1), 3000);
  assert.equal(backoffMillis(2, 1), 12_000);
  assert.equal(backoffMillis(40, 1), 30_000);
});

test('rows: a heading for each person and pause, a line for each day and gap', () => {
  const state = newState('lobby', 'bob');
  const day = 86_400_000;
  tell(state, message(1));
  tell(state, message(2));
  tell(state, message(3, { name: 'bob', text: 'hi' }));
  tell(state, message(4, { name: 'bob', member: false }));
  tell(state, message(5, { name: 'bob', member: false, sentAt: noon + LIMITS.groupMillis * 2 }));
  tell(state, message(6, { sentAt: noon + day, text: 'hello @Bob' }));
  applyEvent(state, { event: 'messages-missed', id: '1006-0', data: { reason: 'expired', after: '3-0', oldest: '1007-0' } });
  tell(state, message(7, { sentAt: noon + day }));
  const shape = rowsOf(state).map(({ kind, head, own, mention }) => (kind === 'message' ? [head && 'head', own && 'own', mention && 'mention'].filter(Boolean).join(' ') : kind));
  assert.deepEqual(shape, ['day', 'head', '', 'head own', 'head', 'head', 'day', 'head mention', 'gap', 'head']);
  assert.equal(new Set(rowsOf(state).map(({ key }) => key)).size, shape.length);
});

test('mentions are whole words, in Chinese too', () => {
  for (const text of ['al?', 'hi @Al', 'AL', '(al)', '你好al，在吗']) assert.ok(mentions(text, 'al'), text);
  for (const text of ['also', 'real', 'al_2', '']) assert.ok(!mentions(text, 'al'), text);
  assert.ok(mentions('小明你好', '小明'));
  assert.ok(!mentions('anything', ''));
});

test('links are http and https alone, without the sentence around them', () => {
  const links = (text) => tokensOf(text).filter(({ kind }) => kind === 'link').map((token) => token.text);
  assert.deepEqual(links('see https://a.example/b_(c). And (http://d.example/e), ok'), ['https://a.example/b_(c)', 'http://d.example/e']);
  assert.deepEqual(links('看 https://a.example/b。好'), ['https://a.example/b']);
  assert.deepEqual(links('javascript:alert(1) data:text/html,x ftp://x http:// https://?q'), []);
  assert.deepEqual(links('https://a.example/\u202egnp.exe \u2066https://b.example/'), ['https://a.example/', 'https://b.example/']);
  assert.deepEqual(links('`https://code.example`'), []);
});

test('the tokens of a text hold all of it', () => {
  for (const text of ['a https://b.example, c', '<img src=x onerror=alert(1)>', 'one ` https://x.example', '\u0000\r\n\u2028', 'https://x.example/"><b>']) {
    assert.equal(tokensOf(text).map((token) => token.text).join(''), text);
  }
  assert.deepEqual(tokensOf('run `ls -l`:\n```\na\nb\n```').map(({ kind, text }) => [kind, text]), [
    ['text', 'run '], ['code', 'ls -l'], ['text', ':\n'], ['block', 'a\nb'],
  ]);
});

test('small things: hues, room names, fragments', () => {
  assert.equal(hueOf('Ada'), hueOf('ada'));
  assert.ok(isRoomName('dev.2-x_ß房间') && !isRoomName('.x') && !isRoomName('a b') && !isRoomName('') && !isRoomName('x'.repeat(65)));
  assert.deepEqual(['#dev', '', '#%E6%88%BF', '#100%'].map(roomOfFragment), ['dev', '', '房', '100%']);
});

test('words: the first language that the table has, whole in each, with the values filled in', () => {
  assert.equal(wordsFor(['zh-TW', 'en']).language, 'zh');
  assert.equal(wordsFor(['xx', 'en-GB']).language, 'en');
  assert.equal(wordsFor([]).language, 'en');
  assert.equal(wordsFor(['en'])('newMessages', { n: 1 }), '1 new message');
  assert.equal(wordsFor(['en'])('newMessages', { n: 2 }), '2 new messages');
  assert.deepEqual(Object.keys(WORDS.zh).sort(), Object.keys(WORDS.en).sort());
  assert.match(wordsFor(['zh']).error({ code: 'name-taken', name: 'ada' }), /ada/);
  assert.equal(wordsFor(['en']).error({ code: 'new-code', message: 'Do this.' }), 'Do this.');
  assert.match(wordsFor(['en']).error({ status: 500 }), /500/);
});
