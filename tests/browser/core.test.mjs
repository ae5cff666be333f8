// The pure core of the page: state, events, rows, text, answers. No browser, no server.
import test from 'node:test';
import assert from 'node:assert/strict';
import {
  LIMITS, addOlder, applyClosed, applyEvent, applyOpened, applyRoster, arrive, compareIds, endSeeking, followNewest, getRoom, isMention, isWhole, lastOf, leave,
  moveView, newChat, newRoom, openIn, readUpTo, rowsOf, setFollowing, unreadOf,
} from '../../www/js/state.js';
import { applyAnswer, backoffMillis, judgeAnswer, newPending, settlePending, streamUrl } from '../../www/js/network.js';
import { completionsAt, fragmentOf, hueOf, isEmoji, isPrivate, isRoomName, labelOf, mentions, newKey, partsOf, quoteOf, roomOfFragment, roomOfInput, tokensOf } from '../../www/js/text.js';
import { WORDS, wordsFor } from '../../www/js/words.js';

const noon = new Date(2024, 4, 6, 12).getTime();
const message = (n, values = {}) => ({ eventId: `${1000 + n}-0`, room: 'lobby', name: 'ada', author: 'a1', member: true, text: `text ${n}`, sentAt: noon + n, ...values });
const chatIn = (...rooms) => {
  const chat = newChat('ada');
  applyOpened(chat, rooms);
  openIn(chat, rooms[0]);
  return chat;
};
const apply = (chat, event, id, data) => applyEvent(chat, { event, id, data });
const tell = (chat, data) => apply(chat, 'new-message', data.eventId, data);
const greet = (chat, values = {}) => apply(chat, 'chat-room-connected', '', {
  eventId: '1000-0', room: 'lobby', name: 'ada', author: 'a1', memberCount: 1, listenerCount: 0, heartbeatSeconds: 15, ...values,
});
const catchUp = (chat, eventId = '1000-0') => apply(chat, 'caught-up', eventId, { eventId });
const lobby = (chat) => getRoom(chat, 'lobby');
const texts = (state) => state.entries.map(({ text, gap }) => (gap ? 'gap' : text));
const filled = (count) => {
  const chat = chatIn('lobby');
  greet(chat);
  catchUp(chat);
  for (let n = 1; n <= count; n += 1) tell(chat, message(n));
  return [chat, lobby(chat)];
};

test('ids compare as pairs of numbers', () => {
  assert.ok(compareIds('9-0', '10-0') < 0);
  assert.ok(compareIds('10-2', '10-10') < 0);
  assert.equal(compareIds('10-2', '10-2'), 0);
});

test('a message that comes twice is held once, and only the first time is news', () => {
  const [chat, state] = filled(2);
  assert.equal(tell(chat, message(3)).length, 1);
  assert.equal(tell(chat, message(3)).length, 0);
  assert.deepEqual(texts(state), ['text 1', 'text 2', 'text 3']);
  assert.equal(chat.position, '1003-0');
});

test('what comes before the stream has caught up is not news, at the start and after each reconnect', () => {
  const chat = chatIn('lobby');
  greet(chat);
  assert.equal(tell(chat, message(1)).length, 0);
  assert.equal(isWhole(chat, lobby(chat)), false);
  catchUp(chat, '1001-0');
  assert.deepEqual([lobby(chat).read, isWhole(chat, lobby(chat))], ['1001-0', true]);
  assert.equal(tell(chat, message(2)).length, 1);
  applyClosed(chat);
  greet(chat);
  assert.equal(tell(chat, message(3)).length, 0);
  catchUp(chat, '1003-0');
  assert.equal(tell(chat, message(4)).length, 1);
  assert.deepEqual(texts(lobby(chat)), ['text 1', 'text 2', 'text 3', 'text 4']);
});

test('the past of a room that was added comes from the history, and goes before what the stream told', () => {
  const [chat] = filled(2);
  applyOpened(chat, ['lobby', 'dev']);
  applyClosed(chat);
  const dev = getRoom(chat, 'dev');
  for (const room of ['lobby', 'dev']) greet(chat, { room });
  assert.deepEqual([lobby(chat).begin, dev.begin], ['', '1002-0']);
  apply(chat, 'messages-missed', '1002-1', { eventId: '1002-1', room: 'dev' });
  tell(chat, message(3, { room: 'dev' }));
  catchUp(chat, '1003-0');
  assert.equal(isWhole(chat, dev), false);
  addOlder(dev, [message(0, { room: 'dev' }), message(1, { room: 'dev' })], LIMITS.page);
  assert.deepEqual(texts(dev), ['text 0', 'text 1', 'text 3'], 'nobody was here to miss anything');
  assert.deepEqual([dev.oldestReached, isWhole(chat, dev)], [true, true]);
});

test('a room that was left out of the stream for a while begins anew', () => {
  const [chat, state] = filled(2);
  applyOpened(chat, []);
  chat.position = '1009-0';
  applyOpened(chat, ['lobby']);
  assert.notEqual(lobby(chat), state);
  assert.deepEqual([texts(lobby(chat)), lobby(chat).begin], [[], '1009-0']);
});

test('a gap is one line where it happened', () => {
  const [chat, state] = filled(3);
  for (let n = 0; n < 2; n += 1) apply(chat, 'messages-missed', '1004-0', { eventId: '1004-0', room: 'lobby' });
  tell(chat, message(5));
  assert.deepEqual(texts(state), ['text 1', 'text 2', 'text 3', 'gap', 'text 5']);
});

test('where the server has a new secret all authors are new, and nobody is told apart by the old ones', () => {
  const [chat, state] = filled(1);
  tell(chat, message(2, { name: 'bob', author: 'b2' }));
  greet(chat, { author: 'a9' });
  tell(chat, message(3, { name: 'bob', author: 'b9' }));
  tell(chat, message(4, { author: 'a9' }));
  assert.ok(state.entries.every(({ changed }) => !changed));
  assert.ok(rowsOf(chat, state).every(({ kind, own, entry }) => kind !== 'message' || own === (entry.name === 'ada')));
});

test('the roster: who left goes first, who joined comes then, a whole roster replaces it', () => {
  const state = newRoom('lobby');
  applyRoster(state, { members: ['Ada', 'bob'], memberCount: 2, listenerCount: 1 });
  const change = { left: ['bob', 'ADA'], joined: ['ada', 'Cleo'], memberCount: 2, listenerCount: 0 };
  applyRoster(state, change);
  applyRoster(state, change);
  assert.deepEqual([...state.members.values()].sort(), ['Cleo', 'ada']);
  applyRoster(state, { members: ['dan'], joined: [], left: [], memberCount: 700, listenerCount: 0 });
  assert.deepEqual([[...state.members.values()], state.memberCount], [['dan'], 700]);
});

test('what is rendered and what is held have their limits, and follow the newest', () => {
  const [, state] = filled(LIMITS.held + 50);
  assert.equal(state.entries.length, LIMITS.held);
  assert.equal(state.ids.size, LIMITS.held);
  assert.equal(state.view.to, LIMITS.held);
  assert.equal(state.view.to - state.view.from, LIMITS.rendered);
});

test('a room that is not shown holds less', () => {
  const chat = chatIn('lobby', 'dev');
  for (let n = 1; n <= LIMITS.heldElsewhere + 50; n += 1) tell(chat, message(n, { room: 'dev' }));
  assert.equal(getRoom(chat, 'dev').entries.length, LIMITS.heldElsewhere);
});

test('a reader who scrolled up keeps what is rendered while others talk', () => {
  const [chat, state] = filled(LIMITS.held);
  setFollowing(state, false);
  moveView(state, -LIMITS.held);
  const first = state.entries[state.view.from].text;
  for (let n = 1; n <= 100; n += 1) tell(chat, message(LIMITS.held + n));
  assert.equal(state.entries[state.view.from].text, first);
  assert.equal(state.view.to - state.view.from, LIMITS.rendered);
  followNewest(state);
  tell(chat, message(LIMITS.held + 101));
  assert.equal(state.entries.length, LIMITS.held);
  assert.equal(state.entries.at(-1).text, `text ${LIMITS.held + 101}`);
});

test('a reader who lets a whole memory of messages go by is taken to the newest, so that memory stays bounded', () => {
  const [chat, state] = filled(400);
  setFollowing(state, false);
  for (let n = 401; n <= 2 * LIMITS.held + 400; n += 1) tell(chat, message(n));
  assert.ok(state.entries.length <= LIMITS.held + 400);
});

test('older messages come before, once, and the end is noticed', () => {
  const chat = chatIn('lobby');
  const state = lobby(chat);
  for (let n = 100; n <= 120; n += 1) tell(chat, message(n));
  addOlder(state, Array.from({ length: LIMITS.page }, (_, n) => message(n + 1)), LIMITS.page);
  assert.equal(state.entries.length, 120);
  assert.deepEqual([texts(state)[0], texts(state)[99], texts(state)[100]], ['text 1', 'text 100', 'text 101']);
  assert.equal(state.oldestReached, false);
  assert.deepEqual([state.view.from, state.view.to], [0, 120]);
  addOlder(state, [], LIMITS.page);
  assert.equal(state.oldestReached, true);
});

test('a stream of more rooms goes on from the one position', () => {
  const [chat] = filled(2);
  const query = () => new URLSearchParams(streamUrl(chat).split('?')[1]);
  applyOpened(chat, ['lobby', 'dev']);
  assert.deepEqual([query().getAll('room'), query().get('lastEventId')], [['lobby', 'dev'], '1002-0']);
  greet(chat, { room: 'dev' });
  assert.equal(query().get('lastEventId'), '1002-0', 'a greeting is no position');
  tell(chat, message(3));
  applyOpened(chat, ['lobby']);
  assert.equal(chat.rooms.has('dev'), false);
  tell(chat, message(4, { room: 'dev' }));
  assert.equal(chat.rooms.has('dev'), false);
});

test('unread: what came after the position of reading, but neither one\'s own nor what is looked at', () => {
  const chat = newChat('ada', (room) => (room === 'dev' ? '1001-0' : ''));
  applyOpened(chat, ['lobby', 'dev', 'fresh']);
  arrive(chat, openIn(chat, 'lobby'));
  for (const room of ['lobby', 'dev', 'fresh']) greet(chat, { room, eventId: '1003-0' });
  const counts = (room) => {
    const unread = unreadOf(chat, getRoom(chat, room));
    return [unread.length, unread.filter(({ text }) => mentions(text, 'ada')).length];
  };
  for (const n of [1, 2, 3]) tell(chat, message(n, { room: 'dev', author: 'b2', name: 'bob', text: n === 3 ? 'hi ada' : 'hi' }));
  assert.deepEqual(counts('dev'), [2, 1]);
  tell(chat, message(4, { room: 'fresh', author: 'b2', name: 'bob' }));
  assert.deepEqual(counts('fresh'), [0, 0], 'not even for a moment');
  catchUp(chat, '1004-0');
  endSeeking(lobby(chat)); // As the log does when it has drawn.
  assert.deepEqual(counts('fresh'), [0, 0], 'the history of a room that was never read');
  tell(chat, message(5, { room: 'dev' }));
  tell(chat, message(6, { author: 'b2', name: 'bob' }));
  assert.deepEqual([counts('dev'), counts('lobby')], [[2, 1], [0, 0]]);
  readUpTo(getRoom(chat, 'dev'), '1002-0');
  assert.deepEqual(counts('dev'), [1, 1]);
});

test('the line "new since you left" stands where reading stopped, and not before what comes while one looks', () => {
  const [chat, state] = filled(2);
  const kinds = () => rowsOf(chat, state).map(({ kind, entry }) => (kind === 'new' ? `new ${entry.eventId}` : kind)).filter((kind) => kind.startsWith('new'));
  arrive(chat, state);
  readUpTo(state, lastOf(state).eventId);
  tell(chat, message(3, { author: 'b2' }));
  assert.deepEqual(kinds(), []);
  leave(state);
  tell(chat, message(4, { author: 'b2' }));
  tell(chat, message(5, { author: 'b2' }));
  assert.deepEqual(kinds(), ['new 1004-0']);
  arrive(chat, state);
  assert.deepEqual(kinds(), ['new 1004-0']);
  readUpTo(state, lastOf(state).eventId);
  leave(state);
  arrive(chat, state);
  tell(chat, message(6, { author: 'b2' }));
  assert.deepEqual(kinds(), []);
});

test('a new day stands above "new since you left"', () => {
  const [chat, state] = filled(1);
  readUpTo(state, '1001-0');
  arrive(chat, state);
  leave(state);
  tell(chat, message(2, { author: 'b2', sentAt: noon + 86_400_000 }));
  assert.deepEqual(rowsOf(chat, state).map(({ kind }) => kind), ['day', 'message', 'day', 'new', 'message']);
});

test('five thousand unread mentions cost next to nothing at each draw', () => {
  const [chat, state] = filled(1);
  for (let n = 2; n <= LIMITS.held; n += 1) tell(chat, message(n, { author: 'b2', name: 'bob', text: `ada, ${'look '.repeat(200)}` }));
  const before = process.cpuUsage();
  for (let draw = 0; draw < 100; draw += 1) assert.equal(unreadOf(chat, state).filter((entry) => isMention(chat, entry)).length, LIMITS.held - 1);
  assert.ok(process.cpuUsage(before).user < 1e6, 'a hundred draws take less than a second');
});

test('more unread than is rendered, or than a history brings, are not taken as read', () => {
  const [chat, state] = filled(1);
  const bob = { author: 'b2', name: 'bob' };
  arrive(chat, state);
  readUpTo(state, '1001-0');
  leave(state);
  for (let n = 2; n <= LIMITS.rendered + 50; n += 1) tell(chat, message(n, bob));
  arrive(chat, state);
  const line = (of, room) => rowsOf(of, room).find(({ kind }) => kind === 'new')?.entry.eventId;
  assert.deepEqual([line(chat, state), state.seeking], ['1002-0', true]);

  const reopened = newChat('ada', () => '1001-0');
  applyOpened(reopened, ['lobby']);
  arrive(reopened, openIn(reopened, 'lobby'));
  greet(reopened);
  addOlder(lobby(reopened), Array.from({ length: 50 }, (_, n) => message(n + 100, bob)), LIMITS.history);
  assert.deepEqual([line(reopened, lobby(reopened)), unreadOf(reopened, lobby(reopened)).length], ['1100-0', 50]);
});

test('a removed message leaves a line without its text, several together leave one, and a late history does not bring it back', () => {
  const [chat, state] = filled(4);
  for (const n of [2, 3]) apply(chat, 'message-removed', `${2000 + n}-0`, { room: 'lobby', removed: `${1000 + n}-0`, by: 'moderator' });
  apply(chat, 'message-removed', '2009-0', { room: 'lobby', removed: '990-0', by: 'author' });
  addOlder(state, [message(-10, { text: 'gone' })], 100);
  assert.deepEqual(texts(state), ['', 'text 1', '', '', 'text 4']);
  assert.deepEqual(rowsOf(chat, state).map(({ kind, n }) => [kind, n].join(' ').trim()), ['day 1', 'removed 1', 'message', 'removed 2', 'message']);
});

test('own messages are told by their author, and a name whose author changes is marked', () => {
  const [chat, state] = filled(0);
  tell(chat, message(1));
  tell(chat, message(2, { author: 'b2' }));
  tell(chat, message(3, { author: null, member: false }));
  tell(chat, message(4, { author: 'b2', name: 'ADA' }));
  tell(chat, message(5, { name: 'Grace' }));
  const shape = rowsOf(chat, state).filter(({ kind }) => kind === 'message').map(({ own, head, entry }) => [own, head, entry.changed]);
  assert.deepEqual(shape, [[true, true, false], [false, true, true], [false, true, true], [false, true, false], [true, true, false]]);
});

test('a pending message goes when the stream has told of it, whichever comes first', () => {
  const [answerFirst] = filled(1);
  const item = newPending('k', 'lobby', 'ada', 'text 2');
  answerFirst.pending.push(item);
  item.status = 'sending';
  applyAnswer(answerFirst, item, judgeAnswer(201, { eventId: '1002-0' }));
  assert.equal(answerFirst.pending.length, 1);
  settlePending(answerFirst, message(2));
  assert.equal(answerFirst.pending.length, 0);

  const [streamFirst] = filled(1);
  const other = { ...newPending('k', 'lobby', 'ada', 'text 2'), status: 'sending' };
  streamFirst.pending.push(other);
  settlePending(streamFirst, message(2, { room: 'dev' }));
  assert.equal(other.seenAs, undefined);
  tell(streamFirst, message(2));
  settlePending(streamFirst, message(2));
  assert.equal(other.seenAs, '1002-0');
  applyAnswer(streamFirst, other, judgeAnswer(201, { eventId: '1002-0' }));
  assert.equal(streamFirst.pending.length, 0);
});

test('a stored message that fell into a gap, or was removed before its answer came, does not stay pending for ever', () => {
  const [chat] = filled(1);
  chat.pending.push({ ...newPending('k', 'lobby', 'ada', 'lost'), status: 'stored', eventId: '1005-0' });
  settlePending(chat, message(9));
  assert.equal(chat.pending.length, 0);
  const item = newPending('k', 'lobby', 'ada', 'removed');
  chat.pending.push(item);
  applyAnswer(chat, item, judgeAnswer(410, { error: 'removed' }));
  assert.equal(chat.pending.length, 0);
});

test('answers: stored, later with the time the server asks for, or failed', () => {
  assert.deepEqual(judgeAnswer(200, { eventId: '1-0' }), { kind: 'done', eventId: '1-0', body: { eventId: '1-0' } });
  assert.equal(judgeAnswer(0).kind, 'later');
  for (const status of [408, 429, 502, 503, 504]) assert.equal(judgeAnswer(status, null).kind, 'later');
  for (const status of [400, 401, 403, 404, 409, 413, 500, 507]) assert.equal(judgeAnswer(status, null).kind, 'failed');
  assert.equal(judgeAnswer(429, { error: 'too-many-messages' }, '7').millis, 7000);
  assert.equal(judgeAnswer(503, { error: 'storage-failed' }).kind, 'failed');
});

test('a lost answer is tried again with the same key, a refusal waits for a person', () => {
  const [chat] = filled(1);
  const item = newPending('key-1', 'lobby', 'ada', 'hello');
  chat.pending.push(item);
  applyAnswer(chat, item, judgeAnswer(0), 1000);
  assert.deepEqual([item.status, item.key, item.tries], ['queued', 'key-1', 1]);
  assert.ok(item.retryAt > 1000);
  applyAnswer(chat, item, judgeAnswer(429, { error: 'too-many-messages' }, '4'), 1000);
  assert.equal(item.retryAt, 5000);
  applyAnswer(chat, item, judgeAnswer(413, { error: 'too-large' }), 1000);
  assert.deepEqual([item.status, item.error.code], ['failed', 'too-large']);
});

test('backoff grows to half a minute and is spread from the first try on', () => {
  assert.equal(backoffMillis(0, 0), 1000);
  assert.equal(backoffMillis(0, 1), 3000);
  assert.equal(backoffMillis(2, 1), 12_000);
  assert.equal(backoffMillis(40, 1), 30_000);
});

test('rows: a heading for each person and pause, a line for each day and gap', () => {
  const [chat, state] = filled(0);
  const day = 86_100_000;
  const bob = { name: 'bob', author: 'b2' };
  tell(chat, message(1, bob));
  tell(chat, message(2, bob));
  tell(chat, message(3, { text: 'hi' }));
  tell(chat, message(4, { author: null, member: false }));
  tell(chat, message(5, { author: null, member: false, sentAt: noon + LIMITS.groupMillis * 2 }));
  tell(chat, message(6, { ...bob, sentAt: noon + day, text: 'hello @Ada' }));
  apply(chat, 'messages-missed', '1006-0', { room: 'lobby', reason: 'expired', after: '3-0', oldest: '1007-0' });
  tell(chat, message(7, { ...bob, sentAt: noon + day }));
  const rows = rowsOf(chat, state);
  const shape = rows.map(({ kind, head, own, mention }) => (kind === 'message' ? [head && 'head', own && 'own', mention && 'mention'].filter(Boolean).join(' ') : kind));
  assert.deepEqual(shape, ['day', 'head', '', 'head own', 'head', 'head', 'day', 'head mention', 'gap', 'head']);
  assert.equal(new Set(rows.map(({ key }) => key)).size, shape.length);
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
  assert.deepEqual(links('(https://a.example/b_(c)) [www.d.example/e], x@www.f.example www.g www..h'), ['https://a.example/b_(c)', 'www.d.example/e']);
  assert.deepEqual(tokensOf('*https://f.example*')[0].tokens.map(({ kind }) => kind), ['link']);
  for (const sign of '\u3164\u2800\u034f\ufe0f\u2215') assert.deepEqual(links(`https://a.example${sign}.evil.example`), ['https://a.example'], sign);
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
    ['text', 'run '], ['code', 'ls -l'], ['text', ':\n'], ['pre', 'a\nb'],
  ]);
});

test('no text takes longer to format than it is long', () => {
  const attacks = ['!_a', '*', '_*', '**a ', '*a ', '_a _', '> ', '>\n', '`', '```', '```a\n', '`a', '(', ')', '*(_', 'https://', 'https://a.', 'https://x)', 'www.', '_https://x_ ', '\n', '\u0301'];
  for (const attack of attacks) {
    for (const text of [attack.repeat(100_000 / attack.length), `https://x${attack.repeat(100_000 / attack.length)}`]) {
      const before = process.cpuUsage();
      tokensOf(text);
      assert.ok(process.cpuUsage(before).user < 1e6, JSON.stringify(attack)); // One second, for 25 messages.
    }
  }
});

test('a message makes at most so many nodes and lines, whatever it says, and says it all', () => {
  const count = (tokens = []) => tokens.reduce((sum, token) => sum + 1 + count(token.tokens), 0);
  for (const attack of ['`a` ', '```a```', '- a\n', '- *a*\n', 'www.a.b ', '*a* _b_ ', '> a\n\n', '> `a`\n\n', '**a *b* c** ', 'a\n', '\n']) {
    const tokens = tokensOf(`a${attack.repeat(4090 / attack.length)}b`);
    const all = JSON.stringify(tokens);
    // A token, the text in it, and the one before it. A quotation says its lines twice.
    assert.ok(count(tokens) <= 610 && all.split('\\n').length <= 1000, `${JSON.stringify(attack)}: ${count(tokens)} nodes, ${all.split('\\n').length} lines`);
    assert.equal(tokens.at(-1).text.at(-1), 'b');
  }
  const list = Array.from({ length: 90 }, (_, n) => `- https://a.example/${n}`).join('\n');
  assert.ok(tokensOf(list).every(({ tokens: [{ kind }] }) => kind === 'link'), 'what people write is formatted in whole');
});

test('quotations, bold, italic, and the language of a block', () => {
  const shape = (text) => tokensOf(text).map((token) => [token.kind, token.text]);
  assert.deepEqual(shape('> one\n> two\nthree'), [['blockquote', 'one\ntwo'], ['text', 'three']]);
  assert.deepEqual(shape('a > b\n>c'), [['text', 'a > b\n'], ['blockquote', 'c']]);
  assert.deepEqual(shape('**one** and *two* and _three_'), [['strong', 'one'], ['text', ' and '], ['em', 'two'], ['text', ' and '], ['em', 'three']]);
  assert.deepEqual(shape('这是**重点**。'), [['text', '这是'], ['strong', '重点'], ['text', '。']]);
  for (const text of ['2*3*4', 'snake_case_name', '2 ** 3 ** 4', '* a * b', '**', 'https://a.example/_b_']) assert.ok(tokensOf(text).every(({ kind }) => kind === 'text' || kind === 'link'), text);
  const nested = (text) => tokensOf(text).map(({ kind, text: whole, tokens }) => (tokens ? [kind, ...tokens.map((token) => token.text)] : whole));
  assert.deepEqual(nested('***x*** **a *b** *a _b c* *a\nb*'), [['strong', 'x'], ' ', ['strong', 'a *b'], ' ', ['em', 'a _b c'], ' *a\nb*']);
  assert.deepEqual(tokensOf('**a *b* `c`**')[0].tokens.map(({ kind }) => kind), ['text', 'em', 'text', 'code']);
  assert.deepEqual(tokensOf('```rust\nfn a() {}\n```\nnext').map(({ kind, text, language }) => [kind, text, language]), [['pre', 'fn a() {}', 'rust'], ['text', 'next', undefined]]);
});

test('lists: each line is an item, and its marker stays', () => {
  const shape = (text) => tokensOf(text).map((token) => [token.kind, token.marker ?? '', token.text]);
  assert.deepEqual(shape('buy:\n- a **b**\n- c\n1. d\nend'), [['text', '', 'buy:\n'], ['item', '-', 'a **b**'], ['item', '-', 'c'], ['item', '1.', 'd'], ['text', '', 'end']]);
  for (const text of ['a - b', '-1', '1.5 m', '2024. A year', '-']) assert.deepEqual(shape(text), [['text', '', text]]);
});

test('a text that is too long is cut after lines or words, and code stays code', () => {
  for (const [text, joint] of [['word '.repeat(2000).trim(), ' '], ['a line\n'.repeat(2000).trim(), '\n'], ['界'.repeat(4000), ''], ['😀'.repeat(3000), '']]) {
    const parts = partsOf(text, 4096);
    assert.ok(parts.every((part) => Buffer.byteLength(part) <= 4096) && parts.length === Math.ceil(Buffer.byteLength(text) / 4080), text.slice(0, 6));
    assert.equal(parts.join(joint), text);
  }
  const blocks = partsOf(`\`\`\`\n${'let x;\n'.repeat(900)}\`\`\``, 4096).map((part) => tokensOf(part).map(({ kind }) => kind));
  assert.deepEqual(blocks, [['pre'], ['pre']]);
  assert.deepEqual(partsOf('short', 4096), ['short']);
  assert.equal(partsOf('x'.repeat(4092 * 49 + 4096), 4096, 50).length, 50);
  for (const more of ['x'.repeat(4092 * 50 + 5), 'é'.repeat(200_000), 'x'.repeat(1e8)]) assert.deepEqual(partsOf(more, 4096, 50), []);
});

test('a reply quotes what was said, without what that quoted', () => {
  assert.equal(quoteOf('ada', 'one\n\ntwo'), '> ada: one\n> two\n');
  assert.equal(quoteOf('ada', '> bob: before\nafter'), '> ada: after\n');
  assert.equal(quoteOf('ada', '1\n2\n3\n4'), '> ada: 1\n> 2\n> 3…\n');
  assert.ok(quoteOf('ada', 'x'.repeat(4000)).length < 260);
});

test('names complete a word, or after @', () => {
  const names = ['Bob', 'bobby', 'ada', '李雷', 'Anna Lee'];
  const complete = (text) => completionsAt(text, text.length, names);
  assert.deepEqual(complete('hi bo'), { from: 3, at: false, names: ['Bob', 'bobby'] });
  assert.deepEqual(complete('hi @'), { from: 4, at: true, names });
  for (const text of ['@李', '你好@李', 'ok,@李']) assert.deepEqual(complete(text).names, ['李雷'], text);
  assert.deepEqual(complete('@anna l').names, ['Anna Lee']);
  assert.deepEqual(complete('(bo').names, ['Bob', 'bobby']);
  for (const text of ['', 'hi ', 'x.bo', 'x@bo', 'zed', '@bob and', `${'x'.repeat(40)}bo`]) assert.deepEqual(complete(text).names, []);
});

test('no text takes longer to complete than it is long', () => {
  for (const sign of ['a', ',', 'a,', ' ,', '(', ' a', '@']) {
    for (const end of ['', '@', ' ', '.']) {
      const text = sign.repeat(200_000) + end;
      const before = process.cpuUsage();
      completionsAt(text, text.length, ['ada', 'bob']);
      assert.ok(process.cpuUsage(before).user < 1e6, JSON.stringify(sign + end));
    }
  }
});

test('a private room: its key is random, its name may be a label and a key, and what is shown is the label', () => {
  const keys = Array.from({ length: 1000 }, newKey);
  assert.ok(keys.every((key) => /^[0-9a-hjkmnp-tv-z]{26}$/.test(key)));
  assert.equal(new Set(keys).size, 1000);
  assert.equal(new Set(keys.join('')).size, 32);
  const [key] = keys;
  for (const label of ['', 'den', '房间', 'x'.repeat(37)]) {
    const room = `${label}~${key}`;
    assert.deepEqual([isRoomName(room), isPrivate(room), labelOf(room), roomOfFragment(fragmentOf(room))], [true, true, label, room]);
  }
  for (const room of [`.~${key}`, 'den~', 'den~short', `den~${key.toUpperCase()}`, `a~${key}~${key}`, `${'x'.repeat(38)}~${key}`, `den~${'a'.repeat(41)}`]) assert.ok(!isRoomName(room), room);
  assert.deepEqual([isPrivate('den'), labelOf('den'), roomOfInput(' #our  den ')], [false, 'den', 'our-den']);
});

test('small things: hues, room names, fragments', () => {
  assert.equal(hueOf('Ada'), hueOf('ada'));
  assert.ok(Array.from({ length: 500 }, (_, n) => hueOf(`person ${n}`)).every((hue) => hue % 30 === 0 && hue < 360));
  assert.deepEqual(['👍', '👩‍👩‍👧 ❤️🎉', '👍👍👍👍', 'a👍', '1', ''].map(isEmoji), [true, true, false, false, false, false]);
  assert.ok(isRoomName('dev.2-x_ß房间💬') && !isRoomName('.x') && !isRoomName('a\u200bb') && !isRoomName('a\u3000b') && !isRoomName('a/b!') && !isRoomName('a b') && !isRoomName('') && !isRoomName('x'.repeat(65)));
  assert.deepEqual(['#dev', '', '#%E6%88%BF', '#100%'].map(roomOfFragment), ['dev', '', '房', '100%']);
});

test('words: the first language that the table has, whole in each, with the values filled in', async () => {
  const { default: chinese } = await import('../../www/js/words.zh-Hans.js');
  assert.equal((await wordsFor(['zh-CN'])).language, 'zh-Hans');
  for (const tag of ['zh-TW', 'zh-Hant-HK', 'x', '']) assert.equal((await wordsFor([tag])).language, 'en', tag);
  assert.equal((await wordsFor(['ar', 'en-GB'])).locale, 'en-GB');
  assert.match((await wordsFor(['ar-EG'])).time(0), /[0-9]/);
  assert.equal((await wordsFor(['xx', 'en-GB'])).language, 'en');
  assert.equal((await wordsFor([])).language, 'en');
  assert.equal((await wordsFor(['en']))('newMessages', { n: 1 }), '1 new message');
  assert.equal((await wordsFor(['en']))('newMessages', { n: 2 }), '2 new messages');
  assert.deepEqual(Object.keys(chinese).sort(), Object.keys(WORDS.en).sort());
  assert.match((await wordsFor(['zh'])).error({ code: 'name-taken', name: 'ada' }), /ada/);
  assert.equal((await wordsFor(['en'])).error({ code: 'new-code', message: 'Do this.' }), 'Do this.');
  assert.match((await wordsFor(['en'])).error({ status: 500 }), /500/);
  for (const language of ['en', 'zh']) {
    for (const code of ['too-many-requests', 'too-many-attempts', 'too-many-streams']) assert.doesNotMatch((await wordsFor([language])).error({ code, message: 'Retry-After' }), /Retry-After/, code);
  }
});
