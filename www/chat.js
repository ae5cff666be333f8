// The page of a chat room: it shows what the event stream tells and posts what is typed. In reading order: limits, words,
// the pure core, then what touches storage, network, other tabs and the document. The core is exported for its tests.

// ---- Limits

export const LIMITS = {
	textBytes: 4096, // Of a message, as the server has it by default.
	counterBytes: 3600, // From here on the composer shows how much is left.
	held: 5000, // Messages kept in memory: 5 MB at 1 KB each.
	rendered: 300, // Rows in the document: many screens, yet cheap to lay out.
	page: 100, // Rows by which the rendered part moves, and messages fetched at once.
	people: 200, // Names listed; the count tells of the rest.
	pending: 50, // Messages that may wait to be sent.
	groupMillis: 300_000, // A person's messages closer than this share one heading.
	answerMillis: 15_000, // Without an answer by then a request has failed.
	leaderMillis: 5_000, // A leading tab that does not answer by then is frozen.
	roomsMillis: 15_000, // Between looks at the room list.
};

const EVENTS = ['chat-room-connected', 'messages-missed', 'new-message', 'members-changed', 'heartbeat', 'server-closing'];

// ---- Words

// Another language is another entry here; what it lacks is said in English.
export const WORDS = {
	en: {
		sidePanel: 'Rooms and people', rooms: 'Rooms', people: 'People', you: 'You', messages: 'Messages',
		pending: 'Not sent yet', otherRoom: 'Another room', rename: 'Change name', notify: 'Notify me of mentions',
		yourName: 'Your name', join: 'Join', cancel: 'Cancel', message: 'Message', messageTo: 'Message #{room}', send: 'Send', retry: 'Retry', drop: 'Drop', visitor: 'visitor',
		joinHelp: 'You are reading along. Choose a name to take part.', composerHelp: 'Enter sends, Shift+Enter starts a new line.',
		badRoom: 'Letters, digits, “-”, “_” and “.” (not first), at most 64.', left: '{n} bytes left', over: '{n} bytes too long',
		newest: 'Newest messages', newMessages: { one: '{n} new message', other: '{n} new messages' },
		andMore: 'and {n} more', listening: '{n} reading along',
		beginning: 'Nothing older is kept.', empty: 'Nothing has been said here yet.',
		gapExpired: 'Messages are missing here: they are no longer kept.', gapUnknown: 'Messages may be missing here: the server started anew.',
		connecting: 'Connecting…', connected: 'Connected', waiting: 'Reconnecting', inSeconds: 'in {n} s', offline: 'Offline',
		closing: 'The server is closing', refused: 'Not connected', sending: 'Sending…', queued: 'Waits for the connection',
		rateLimited: 'Too many messages at once. Sent in {n} s.',
		// For other codes the server's own English sentence is shown.
		errors: {
			'name-taken': 'Somebody else is here as “{name}”. Choose another name, or try again in a while.',
			'too-many-streams': 'There is no place left right now. Trying again by itself.',
		},
		otherError: 'The server refused this (status {status}).',
	},
	zh: {
		sidePanel: '房间和成员', rooms: '房间', people: '成员', you: '我', messages: '消息',
		pending: '尚未发送', otherRoom: '其他房间', rename: '更改名字', notify: '有人提到我时通知',
		yourName: '你的名字', join: '加入', cancel: '取消', message: '消息', messageTo: '发送到 #{room}', send: '发送', retry: '重发', drop: '放弃', visitor: '访客',
		joinHelp: '你正在旁观。取个名字即可发言。', composerHelp: '回车发送，Shift+回车换行。',
		badRoom: '可用文字、数字、“-”、“_”和“.”（不能开头），最多 64 个字符。', left: '还可输入 {n} 字节', over: '超出 {n} 字节',
		newest: '最新消息', newMessages: '{n} 条新消息',
		andMore: '另有 {n} 人', listening: '{n} 人旁观',
		beginning: '没有更早的消息了。', empty: '这里还没有人说话。',
		gapExpired: '此处缺少一些消息：服务器已不再保留。', gapUnknown: '此处可能缺少消息：服务器已重新启动。',
		connecting: '正在连接…', connected: '已连接', waiting: '正在重新连接', inSeconds: '{n} 秒后', offline: '离线',
		closing: '服务器正在关闭', refused: '未连接', sending: '正在发送…', queued: '等待连接',
		rateLimited: '发送太快，{n} 秒后发出。',
		errors: {
			'name-taken': '已有人使用“{name}”。请换一个名字，或稍后再试。',
			'bad-name': '不能使用这个名字：1 到 32 个可见字符，首尾不能有空格。',
			'bad-room': '房间不能叫这个名字，请换一个。',
			'too-large': '消息太长，请缩短或分几次发送。',
			'room-not-offered': '这里没有这个房间，请从列表中选择。',
			'password-required': '需要密码。请刷新页面后输入。',
			'too-many-streams': '服务器暂时没有空位，会自动重试。',
			'too-many-rooms': '服务器暂时不能新建房间，请从列表中选择。',
			'storage-full': '服务器磁盘已满，消息没有保存：请稍后重发。',
			'storage-failed': '服务器无法再保存消息，请告知管理员。',
		},
		otherError: '服务器拒绝了请求（状态 {status}）。',
	},
};

/** The first of the reader's languages that the table has, as a function from key and values to words. */
export function wordsFor(languages) {
	const language = languages.map((tag) => tag.toLowerCase().split('-')[0]).find((tag) => WORDS[tag]) ?? 'en';
	const plural = new Intl.PluralRules(language);
	const fill = (words, values) => words.replace(/\{(\w+)\}/g, (_, key) => values[key]);
	const say = (key, values = {}) => {
		const found = WORDS[language][key] ?? WORDS.en[key];
		return fill(typeof found === 'string' ? found : found[plural.select(values.n)] ?? found.other, values);
	};
	say.language = language;
	say.error = ({ code, message, status, name }) => {
		const known = WORDS[language].errors[code] ?? WORDS.en.errors[code];
		return known ? fill(known, { name }) : message || say('otherError', { status });
	};
	return say;
}

// ---- Core: state and events

/** All that is known of one room. The functions below change it, the views read it. */
export function newState(room, name = '') {
	return {
		room, name, position: '', heartbeatSeconds: 15, connection: { phase: 'connecting' },
		entries: [], // Messages and gaps in the order of the stream, older ones put before them.
		ids: new Set(), // Of the entries: what is here already is not added again.
		oldestReached: false, view: { from: 0, to: 0, following: true },
		members: new Map(), memberCount: 0, listenerCount: 0,
		pending: [], unread: 0, below: 0, backlogUntil: 0,
	};
}

/** Compares event ids `<milliseconds>-<sequence>` as pairs of numbers. */
export function compareIds(a, b) {
	const [aMillis, aSequence] = a.split('-').map(Number);
	const [bMillis, bSequence] = b.split('-').map(Number);
	return aMillis - bMillis || aSequence - bSequence;
}

/** Applies one event of the stream; gives the messages that were new. Applying it twice changes nothing more. */
export function applyEvent(state, { event, id, data }, now = Date.now()) {
	state.connection = { phase: event === 'server-closing' ? 'closing' : 'connected' };
	switch (event) {
		case 'chat-room-connected':
			if (!state.position) state.backlogUntil = now + 1000;
			Object.assign(state, { position: id, name: data.name ?? '', heartbeatSeconds: data.heartbeatSeconds });
			applyRoster(state, data);
			break;
		case 'members-changed':
			applyRoster(state, data);
			break;
		case 'messages-missed':
			state.position = id;
			addEntries(state, [{ eventId: `gap ${data.after} ${id}`, gap: true, reason: data.reason }]);
			break;
		case 'new-message':
			state.position = id;
			settlePending(state, data);
			if (addEntries(state, [data]).length === 0) break;
			trimEntries(state);
			return now < state.backlogUntil ? [] : [data];
	}
	return [];
}

/** `members` replaces the roster, then `left` goes and `joined` comes: in this order any repeat ends with the same names. */
export function applyRoster(state, { members, left = [], joined = [], memberCount, listenerCount }) {
	if (members) state.members = new Map();
	for (const name of left) state.members.delete(name.toLowerCase());
	for (const name of [...(members ?? []), ...joined]) state.members.set(name.toLowerCase(), name);
	Object.assign(state, { memberCount, listenerCount });
}

/** Appends what is not here yet. A reader who stays with the newest keeps seeing the end. */
export function addEntries(state, entries) {
	const fresh = entries.filter((entry) => !state.ids.has(entry.eventId));
	const { view } = state;
	for (const entry of fresh) {
		state.ids.add(entry.eventId);
		state.entries.push(entry);
		if (view.following) view.to = state.entries.length;
	}
	if (view.following) view.from = Math.max(view.from, view.to - LIMITS.rendered);
	return fresh;
}

/** Puts older messages before the ones held; the rendered part stays on the same messages. */
export function addOlder(state, messages, asked) {
	const fresh = messages.filter((message) => !state.ids.has(message.eventId));
	for (const message of fresh) state.ids.add(message.eventId);
	state.entries.unshift(...fresh);
	state.view.from += fresh.length;
	state.view.to += fresh.length;
	state.oldestReached = messages.length < asked;
	if (state.view.following) followNewest(state);
	else moveView(state, -LIMITS.page);
}

/** Lets go of the oldest, but not of what is rendered, unless a whole memory's worth went by below it. */
export function trimEntries(state) {
	if (state.entries.length - state.view.to > LIMITS.held) followNewest(state);
	const excess = Math.min(state.entries.length - LIMITS.held, state.view.from);
	if (excess <= 0) return;
	for (const entry of state.entries.splice(0, excess)) state.ids.delete(entry.eventId);
	state.view.from -= excess;
	state.view.to -= excess;
	state.oldestReached = false;
}

/** Moves the rendered part up (negative) or down; it never has more than its limit. */
export function moveView(state, rows) {
	const { view, entries } = state;
	if (rows < 0) {
		view.from = Math.max(0, view.from + rows);
		view.to = Math.min(view.to, view.from + LIMITS.rendered);
	} else {
		view.to = Math.min(entries.length, view.to + rows);
		view.from = Math.max(view.from, view.to - LIMITS.rendered);
	}
}

export function followNewest(state) {
	const to = state.entries.length;
	Object.assign(state, { view: { from: Math.max(0, to - LIMITS.rendered), to, following: true }, below: 0 });
}

/** What a tab that joins later needs: all, or all after the position that it has. */
export function snapshotOf(state, after) {
	const known = state.entries.findIndex((entry) => entry.eventId === after);
	const { position, name, heartbeatSeconds, connection, members, memberCount, listenerCount } = state;
	return { entries: state.entries.slice(known + 1), rest: { position, name, heartbeatSeconds, connection, members, memberCount, listenerCount } };
}

export function adoptSnapshot(state, { entries, rest }) {
	const had = state.position;
	Object.assign(state, rest, { position: rest.position || had });
	for (const entry of entries) if (!entry.gap) settlePending(state, entry);
	const fresh = addEntries(state, entries).filter((entry) => !entry.gap);
	trimEntries(state);
	return had ? fresh : [];
}

// ---- Core: own messages

export const newPending = (key, name, text) => ({ key, name, text, status: 'queued', tries: 0, retryAt: 0 });

/** Waiting before a try, the first being 0: spread at random, so that a server that comes back is not run over. */
export function backoffMillis(attempt, random = Math.random()) {
	return Math.round(1000 + random * (Math.min(3000 * 2 ** attempt, 30_000) - 1000));
}

/** What an answer means: `stored`, worth trying again `later`, or `failed` until a person does something. */
export function judgeAnswer(status, body, retryAfter) {
	if (status >= 200 && status < 300) return { kind: 'stored', eventId: body?.eventId };
	const problem = { status, code: body?.error, message: body?.message };
	const passing = [0, 408, 429, 502, 503, 504].includes(status);
	if (!passing || problem.code === 'storage-failed') return { kind: 'failed', ...problem };
	return { kind: 'later', ...problem, millis: Number(retryAfter) > 0 ? Number(retryAfter) * 1000 : undefined };
}

/** Writes an answer's meaning into the pending message that asked. */
export function applyAnswer(state, item, answer, now = Date.now()) {
	if (answer.kind === 'failed' || answer.status) delete item.seenAs;
	if (answer.kind === 'stored') {
		Object.assign(item, { status: 'stored', eventId: answer.eventId });
		if (state.ids.has(answer.eventId) || (state.position && compareIds(answer.eventId, state.position) <= 0)) dropPending(state, item);
	} else if (answer.kind === 'later') {
		const millis = answer.millis ?? backoffMillis(item.tries);
		Object.assign(item, { status: 'queued', tries: item.tries + 1, retryAt: now + millis, error: answer.status ? answer : undefined });
	} else {
		Object.assign(item, { status: 'failed', error: answer });
	}
}

export function dropPending(state, item) {
	state.pending = state.pending.filter((other) => other !== item);
}

// The stream may tell of a message before the post's answer does: the pending one is then hidden until that comes.
function settlePending(state, message) {
	state.pending = state.pending.filter(({ eventId }) => !eventId || compareIds(eventId, message.eventId) > 0);
	const twin = state.pending.find((item) => item.status === 'sending' && !item.seenAs && item.name === message.name
		&& item.text.trimEnd() === message.text.trimEnd());
	if (twin) twin.seenAs = message.eventId;
}

// ---- Core: rows and text

/** The rows to show: messages with or without a heading, and lines where a day begins or messages are missing. */
export function rowsOf({ entries, view, name }) {
	const rows = [];
	let before = null;
	let day = '';
	for (const entry of entries.slice(view.from, view.to)) {
		if (entry.gap) {
			rows.push({ kind: 'gap', key: entry.eventId, entry });
			before = null;
			continue;
		}
		const today = new Date(entry.sentAt).toDateString();
		if (today !== day) {
			rows.push({ kind: 'day', key: `day ${entry.eventId}`, entry });
			before = null;
		}
		day = today;
		const head = !before || before.name !== entry.name || before.member !== entry.member || entry.sentAt - before.sentAt > LIMITS.groupMillis;
		const own = entry.member && sameName(entry.name, name);
		const mention = !own && mentions(entry.text, name);
		rows.push({ kind: 'message', key: `${entry.eventId} ${head} ${own} ${mention}`, entry, head, own, mention });
		before = entry;
	}
	return rows;
}

export const sameName = (a, b) => a.toLowerCase() === b.toLowerCase();

/** Whether the text names the person, as a word of its own: `also` does not mean Al. */
export function mentions(text, name) {
	if (!name) return false;
	// Chinese and Japanese write no spaces between words, so their letters bound a name.
	const inWord = (character = '') => /(?![\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}])[\p{L}\p{N}_]/u.test(character);
	const [where, what] = [text.toLowerCase(), name.toLowerCase()];
	for (let at = where.indexOf(what); at >= 0; at = where.indexOf(what, at + 1)) {
		if (!inWord(where[at - 1]) && !inWord(where[at + what.length])) return true;
	}
	return false;
}

/** Splits a text into plain text, links (`http` and `https` alone), inline code and code blocks. */
export function tokensOf(text) {
	const tokens = [];
	const plain = (part) => part && tokens.push({ kind: 'text', text: part });
	// Invisible characters end a link, so that what it shows is where it leads; so does Chinese punctuation.
	const pattern = /```\n?([^]+?)\n?```|`([^`\n]+)`|https?:\/\/[^\s<>"`\p{Cc}\p{Cf}\u3000-\u303f\uff00-\uff60]+/giu;
	let end = 0;
	for (const match of text.matchAll(pattern)) {
		const [whole, block, code] = match;
		const link = block ?? code ? '' : linkOf(whole);
		if (!link && !block && !code) continue;
		plain(text.slice(end, match.index));
		tokens.push(block ? { kind: 'block', text: block } : code ? { kind: 'code', text: code } : { kind: 'link', text: link });
		end = match.index + (link ? link.length : whole.length);
	}
	plain(text.slice(end));
	return tokens;
}

// Punctuation behind an address belongs to the sentence, like a bracket that the address did not open.
function linkOf(address) {
	const link = address.replace(/[.,;:!?'*~]+$/, '');
	const bare = link.endsWith(')') && !link.includes('(') ? linkOf(link.slice(0, -1)) : link;
	return /^https?:\/\/[^/?#]/i.test(bare) ? bare : '';
}

/** A name's hue in degrees; the style sheet makes readable colours of it. */
export function hueOf(name) {
	let hash = 7;
	for (const character of name.toLowerCase()) hash = (hash * 31 + character.codePointAt(0)) % 9973;
	return (hash * 137) % 360;
}

export const isRoomName = (room) => /^(?!\.)[\p{L}\p{N}_.-]{1,64}$/u.test(room);

export function roomOfFragment(fragment) {
	const raw = fragment.replace(/^#/, '');
	try {
		return decodeURIComponent(raw);
	} catch {
		return raw;
	}
}

// ---- Storage

/** Remembers small things. Where the browser refuses storage nothing is remembered, and nothing breaks. */
function openStorage(area, prefix) {
	const attempt = (action) => {
		try {
			return action(area());
		} catch {
			return null;
		}
	};
	return {
		get: (key) => attempt((storage) => JSON.parse(storage.getItem(prefix + key))),
		set: (key, value) => attempt((storage) => (value ? storage.setItem(prefix + key, JSON.stringify(value)) : storage.removeItem(prefix + key))),
	};
}

// ---- Network

// `crypto.randomUUID` is missing where a page came by plain http.
const randomKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');

const roomPath = (room) => `chat/${encodeURIComponent(room)}`;

async function request(url, options) {
	const abort = new AbortController();
	const timer = setTimeout(() => abort.abort(), LIMITS.answerMillis);
	try {
		const answer = await fetch(url, { signal: abort.signal, ...options });
		// Of an event stream only the status is wanted, since its body does not end.
		const body = /json/.test(answer.headers.get('Content-Type')) ? await answer.json() : null;
		return { ...judgeAnswer(answer.status, body, answer.headers.get('Retry-After')), body };
	} catch {
		return judgeAnswer(0);
	} finally {
		clearTimeout(timer);
		abort.abort();
	}
}

function postMessage(room, { key, name, text }) {
	const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': key };
	return request(roomPath(room), { method: 'POST', headers, body: JSON.stringify({ name, text }) });
}

/** A stream silent for longer has died; a server without heartbeats leaves that open. */
export const silenceMillis = ({ heartbeatSeconds }) => (heartbeatSeconds ? heartbeatSeconds * 2500 + 2000 : Infinity);

/** The event stream, connected again and again. EventSource's own reconnect gives up on any status but 200, and does not tell when it tries. */
function openStream({ state, url, deliver, report }) {
	let source = null;
	let timer = 0;
	let attempt = 0;
	let heardAt = 0;
	let patience = LIMITS.answerMillis;

	function connect() {
		clearTimeout(timer);
		source?.close();
		heardAt = Date.now();
		patience = LIMITS.answerMillis;
		report({ phase: attempt ? 'waiting' : 'connecting' });
		const current = new EventSource(url());
		source = current;
		for (const event of EVENTS) {
			current.addEventListener(event, ({ data, lastEventId }) => {
				heardAt = Date.now();
				attempt = 0;
				deliver({ event, id: lastEventId, data: JSON.parse(data) });
				patience = silenceMillis(state);
			});
		}
		current.addEventListener('error', () => current === source && lose(current.readyState === EventSource.CLOSED));
	}

	async function lose(refused) {
		const current = source;
		current.close();
		// EventSource hides the status of a refusal, so the same is asked once more to read it.
		const why = refused ? await request(url(), { headers: { Accept: 'text/event-stream' } }) : judgeAnswer(0);
		if (source !== current) return;
		source = null;
		if (why.kind === 'failed') return report({ phase: 'refused', problem: why });
		const millis = why.millis ?? backoffMillis(attempt);
		attempt += 1;
		report({ phase: navigator.onLine ? 'waiting' : 'offline', until: Date.now() + millis, problem: why.code && why });
		timer = setTimeout(connect, millis);
	}

	connect();
	return {
		/** Notices a connection that died without a word: heartbeats should have come. */
		tick: () => source && Date.now() - heardAt > patience && lose(false),
		/** Comes back at once after sleep or when the network is there again. */
		wake: (anyway) => (anyway || !source || Date.now() - heardAt > silenceMillis(state) / 2) && connect(),
		close() {
			clearTimeout(timer);
			source?.close();
			source = null;
		},
	};
}

// ---- Tabs

/**
 * One stream for all tabs with this key. The tab that gets the lock leads: it has the stream and relays its events. The others
 * ask it for what they lack; when it goes, the lock passes on, and the next leader resumes from its own position.
 */
function joinTabs({ key, position, snapshot, adopt, apply, lead, unlead }) {
	if (!navigator.locks || typeof BroadcastChannel === 'undefined') {
		lead();
		return { relay() {}, tick() {}, wake() {}, close() {} };
	}
	const channel = new BroadcastChannel(key);
	const self = randomKey();
	const abort = new AbortController();
	let leading = false;
	let synced = false; // Events count only after the snapshot that they continue.
	let askedAt = 0;
	let heardAt = Date.now();
	let release = () => {};

	const hold = () => new Promise((resolve) => {
		if (abort.signal.aborted) return resolve();
		release = resolve;
		leading = true;
		askedAt = 0;
		lead();
		channel.postMessage({ kind: 'leader' });
	});
	function queue(options) {
		navigator.locks.request(key, options, hold).catch(() => {
			if (abort.signal.aborted) return;
			leading = false; // Another tab found this one frozen and took the lock.
			unlead();
			queue({ signal: abort.signal });
			ask();
		});
	}
	function ask() {
		synced = false;
		askedAt ||= Date.now();
		channel.postMessage({ kind: 'ask', from: self, after: position() });
	}

	channel.addEventListener('message', ({ data }) => {
		if (leading) {
			if (data.kind === 'ask') channel.postMessage({ kind: 'snapshot', to: data.from, snapshot: snapshot(data.after) });
			return;
		}
		if (data.kind === 'ask') return;
		heardAt = Date.now();
		if (data.kind === 'leader') ask();
		if (data.kind === 'snapshot' && data.to === self) {
			synced = true;
			askedAt = 0;
			adopt(data.snapshot);
		}
		if (data.kind === 'relay' && synced) apply(data.what);
	});
	queue({ signal: abort.signal });
	ask();
	return {
		relay: (what) => leading && channel.postMessage({ kind: 'relay', what }),
		/** Phones freeze hidden tabs, the lock in their hands: a tab that is looked at takes it from them. */
		tick(silence) {
			if (leading || document.hidden) return;
			if (!askedAt && Date.now() - heardAt > silence) ask();
			if (askedAt && Date.now() - askedAt > LIMITS.leaderMillis) {
				askedAt = 0;
				queue({ steal: true });
			}
		},
		wake: () => !leading && ask(),
		close() {
			abort.abort();
			release();
			channel.close();
		},
	};
}

// ---- Outbox

/** Sends the pending messages one after the other, so that they keep their order. */
function openOutbox(state, changed) {
	let busy = false;
	let closed = false;
	let timer = 0;

	async function flush() {
		clearTimeout(timer);
		const item = state.pending.find(({ status }) => status === 'queued');
		if (busy || closed || !item) return;
		const wait = item.retryAt - Date.now();
		if (wait > 0) return void (timer = setTimeout(flush, wait));
		busy = true;
		item.status = 'sending';
		changed();
		const answer = await postMessage(state.room, item);
		if (closed) return; // Who comes back to this room finds the message kept and has it sent under the same key.
		busy = false;
		applyAnswer(state, item, answer);
		changed();
		flush();
	}

	return {
		flush,
		/** The connection is back: what waits for it goes now, but not what the server asked to wait. */
		wake() {
			for (const item of state.pending) if (item.status === 'queued' && !item.error) item.retryAt = 0;
			flush();
		},
		retry(item) {
			// Under another name than the refused one it is another message to the server.
			if (item.status === 'failed' && state.name && item.name !== state.name) Object.assign(item, { name: state.name, key: randomKey() });
			Object.assign(item, { status: 'queued', tries: 0, retryAt: 0, error: undefined });
			flush();
		},
		close() {
			closed = true;
			clearTimeout(timer);
		},
	};
}

// ---- Page

const $ = (id) => document.getElementById(id);

/** Runs the page. All that changes is in `page`; the views bring the document in line with it at any time. */
export function start() {
	const prefix = `chatroom ${location.pathname} `; // Another chat may live under another path of this host.
	const page = {
		prefix, say: wordsFor(navigator.languages ?? [navigator.language]),
		local: openStorage(() => localStorage, prefix), tab: openStorage(() => sessionStorage, prefix),
		state: null, parts: null, outbox: null, rooms: [], naming: false, nameError: null, drawing: false, loading: false, lastTop: 0,
	};
	translate(page.say);
	listenToControls(page);
	listenToBrowser(page);
	$('app').hidden = false;
	openFragment(page);
}

function openFragment(page) {
	const room = roomOfFragment(location.hash) || 'lobby';
	if (page.state?.room !== room) openRoom(page, room, page.state?.name || page.tab.get('name') || page.local.get('name') || '');
	showSide(false);
	askRooms(page);
	update(page);
	// On a touch screen it would open the keyboard over the messages.
	if (matchMedia('(pointer: fine)').matches) focusWriting();
}

/** Opens a room, or the present one under another name, where all that is known of it stays. */
function openRoom(page, room, name) {
	const { tab, local } = page;
	page.parts?.close();
	if (page.state?.room !== room) {
		page.outbox?.close();
		const state = newState(room);
		state.pending = (tab.get(`pending ${room}`) ?? []).map((item) => (item.status === 'failed' ? item : { ...item, status: 'queued', retryAt: 0 }));
		page.state = state;
		page.outbox = openOutbox(state, () => {
			tab.set(`pending ${room}`, state.pending);
			changed(page);
		});
		page.outbox.flush();
		Object.assign(page, { naming: false, nameError: null });
		$('text').value = local.get(`draft ${room}`) ?? '';
	}
	Object.assign(page.state, { name, connection: { phase: 'connecting' } });
	page.parts = openParts(page, page.state, name);
	changed(page);
}

/** The stream of one room under one name, and the tabs that share it. */
function openParts(page, state, name) {
	let stream = null;
	let closed = false;
	const url = () => {
		const query = new URLSearchParams(name ? { name } : {});
		if (state.position) query.set('lastEventId', state.position);
		return `${roomPath(state.room)}?${query}`;
	};
	const apply = (what) => {
		if (closed) return;
		const before = state.connection.phase;
		if (what.event) noteFresh(page, applyEvent(state, what));
		else setConnection(page, what.connection);
		if (before !== 'connected' && state.connection.phase === 'connected') page.outbox.wake();
		changed(page);
	};
	const share = (what) => {
		tabs.relay(what);
		apply(what);
	};
	const closeStream = () => {
		stream?.close();
		stream = null;
	};
	const tabs = joinTabs({
		key: `${page.prefix}${state.room} ${name}`,
		position: () => state.position,
		snapshot: (after) => snapshotOf(state, after),
		adopt: (snapshot) => {
			noteFresh(page, adoptSnapshot(state, snapshot));
			apply({ connection: state.connection });
		},
		apply,
		// With nobody to share with it is called before `tabs` stands.
		lead: () => queueMicrotask(() => {
			if (!closed) stream = openStream({ state, url, deliver: share, report: (connection) => share({ connection }) });
		}),
		unlead: closeStream,
	});
	return {
		tick() {
			stream?.tick();
			tabs.tick(silenceMillis(state));
		},
		wake(anyway) {
			stream?.wake(anyway);
			tabs.wake();
			page.outbox.wake();
		},
		close() {
			closed = true;
			closeStream();
			tabs.close();
		},
	};
}

function setConnection(page, connection) {
	const { state } = page;
	const code = connection.problem?.code;
	state.connection = connection;
	if (code === 'name-taken' || code === 'bad-name') {
		Object.assign(page, { naming: true, nameError: { ...connection.problem, name: state.name } });
		$('name').value = state.name;
		openRoom(page, state.room, ''); // One goes on reading while one thinks of another name.
	} else if (code === 'room-not-offered' && !location.hash) {
		openFirstRoom(page);
	}
}

/** Without a fragment the room is `lobby`, or where that is not offered the one that the bare stream tells. */
function openFirstRoom(page) {
	const source = new EventSource('chat?history=0');
	source.addEventListener('error', () => source.close());
	source.addEventListener('chat-room-connected', ({ data }) => {
		source.close();
		if (!location.hash) openRoom(page, JSON.parse(data).room, page.state.name);
	});
}

function noteFresh(page, messages) {
	const { state } = page;
	for (const message of messages) {
		if (sameName(message.name, state.name)) continue;
		if (!state.view.following) state.below += 1;
		if (!document.hidden) continue;
		state.unread += 1;
		if (mentions(message.text, state.name)) notify(page, message);
	}
}

async function loadOlder(page) {
	const { state } = page;
	const oldest = state.entries.find((entry) => !entry.gap);
	if (page.loading || state.oldestReached || !oldest) return;
	page.loading = true;
	const answer = await request(`${roomPath(state.room)}/messages?before=${oldest.eventId}&limit=${LIMITS.page}`);
	if (answer.kind === 'stored') addOlder(state, answer.body.messages, LIMITS.page);
	else await new Promise((resolve) => setTimeout(resolve, 2000));
	page.loading = false;
	changed(page);
}

/** Near its end the rendered part moves on. */
function fillScreen(page) {
	const { view, entries } = page.state;
	const { scrollTop, scrollHeight, clientHeight } = $('scroller');
	const nearTop = scrollTop < clientHeight;
	const nearEnd = scrollHeight - scrollTop < 2 * clientHeight;
	if (nearTop && view.from === 0) loadOlder(page);
	if (nearTop && view.from > 0 && !view.following) moveView(page.state, -LIMITS.page);
	else if (nearEnd && view.to < entries.length) moveView(page.state, LIMITS.page);
	else return;
	changed(page);
}

function onScroll(page) {
	const { state } = page;
	const { scrollTop, scrollHeight, clientHeight } = $('scroller');
	const atEnd = scrollHeight - scrollTop - clientHeight < 8 && state.view.to === state.entries.length;
	// The place also changes when rows come and go: only a move upward is the reader's own.
	const following = atEnd || (state.view.following && scrollTop >= page.lastTop);
	page.lastTop = scrollTop;
	if (following !== state.view.following) {
		if (following) followNewest(state);
		state.view.following = following;
		changed(page);
	}
	fillScreen(page);
}

function send(page) {
	const { state, local } = page;
	updateWriting(page);
	if ($('send').disabled) return;
	state.pending.push(newPending(randomKey(), state.name, $('text').value.trimEnd()));
	$('text').value = '';
	local.set(`draft ${state.room}`, '');
	followNewest(state);
	page.outbox.flush();
	changed(page);
}

function takeName(page) {
	const name = $('name').value.trim();
	if (!name) return;
	page.tab.set('name', name);
	page.local.set('name', name);
	openRoom(page, page.state.room, name);
	askName(page, false);
}

function askName(page, asking) {
	Object.assign(page, { naming: asking, nameError: null });
	if (asking) $('name').value = page.state.name;
	showSide(false);
	update(page);
	focusWriting();
}

function goToRoom(page) {
	const input = $('room-input');
	const room = input.value.trim().replace(/^#/, '').replace(/\s+/g, '-');
	input.setCustomValidity(isRoomName(room) ? '' : page.say('badRoom'));
	if (!input.reportValidity()) return;
	input.value = '';
	location.hash = `#${encodeURIComponent(room)}`;
}

function handlePending(page, { action, key }) {
	const { state, outbox, tab } = page;
	const item = state.pending.find((other) => other.key === key);
	if (!item || !action) return;
	if (action === 'drop') dropPending(state, item);
	else outbox.retry(item);
	tab.set(`pending ${state.room}`, state.pending);
	update(page);
	focusWriting();
}

async function askRooms(page) {
	if (document.hidden) return;
	const answer = await request('rooms');
	if (answer.kind === 'stored') page.rooms = answer.body.rooms;
	changed(page);
}

const focusWriting = () => ($('composer').hidden ? $('name') : $('text')).focus();

function showSide(open) {
	document.body.classList.toggle('side-open', open);
	$('menu').setAttribute('aria-expanded', open);
	if (open) $('side').querySelector('a').focus();
}

function listenToControls(page) {
	const on = (id, type, handler) => $(id).addEventListener(type, (event) => {
		if (type === 'submit') event.preventDefault();
		handler(event);
	});
	on('composer', 'submit', () => send(page));
	on('text', 'keydown', (event) => {
		// While an input method composes, Enter takes its suggestion.
		if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
		event.preventDefault();
		send(page);
	});
	on('text', 'input', () => {
		page.local.set(`draft ${page.state.room}`, $('text').value);
		updateWriting(page);
	});
	on('join', 'submit', () => takeName(page));
	on('join-cancel', 'click', () => askName(page, false));
	on('rename', 'click', () => askName(page, true));
	on('notify', 'click', () => toggleNotifications(page));
	on('room-form', 'submit', () => goToRoom(page));
	on('room-input', 'input', () => $('room-input').setCustomValidity(''));
	on('try-again', 'click', () => page.parts.wake(true));
	on('jump', 'click', () => (followNewest(page.state), update(page), focusWriting()));
	on('menu', 'click', () => showSide(!document.body.classList.contains('side-open')));
	on('shade', 'click', () => showSide(false));
	on('pending', 'click', ({ target }) => handlePending(page, target.dataset));
	$('scroller').addEventListener('scroll', () => onScroll(page), { passive: true });
	new ResizeObserver(() => changed(page)).observe($('scroller'));
}

function listenToBrowser(page) {
	const wake = ({ type }) => {
		if (document.hidden) {
			page.drawing = false; // A hidden page gets no frame to draw in.
			changed(page);
			return;
		}
		page.state.unread = 0;
		page.parts.wake(type === 'online');
		askRooms(page);
		update(page);
	};
	document.addEventListener('visibilitychange', wake);
	addEventListener('online', wake);
	addEventListener('offline', () => {
		// The stream may still live, on a loopback address for one: its next event says so.
		page.state.connection = { phase: 'offline' };
		changed(page);
	});
	addEventListener('hashchange', () => openFragment(page));
	addEventListener('keydown', ({ key }) => {
		if (key !== 'Escape' || !document.body.classList.contains('side-open')) return;
		showSide(false);
		$('menu').focus();
	});
	setInterval(() => {
		page.parts.tick();
		if (page.state.connection.phase !== 'connected' || page.state.pending.length) changed(page);
	}, 1000);
	setInterval(() => askRooms(page), LIMITS.roomsMillis);
}

// ---- Views

/** Updates the document soon, once for all changes until then. */
function changed(page) {
	if (page.drawing) return;
	page.drawing = true;
	const draw = () => {
		page.drawing = false;
		update(page);
		fillScreen(page);
	};
	if (document.hidden) setTimeout(draw, 100);
	else requestAnimationFrame(draw);
}

function update(page) {
	const { state, say } = page;
	updateConnection(page);
	updateRooms(page);
	updatePeople(page);
	updateLog(page);
	updateWriting(page);
	setText($('room-title'), state.room);
	document.title = `${state.unread ? `(${state.unread}) ` : ''}#${state.room} · chatroom`;
	$('jump').hidden = state.view.following;
	setText($('jump'), state.below ? say('newMessages', { n: state.below }) : say('newest'));
}

function updateConnection({ state, say, nameError }) {
	const { phase, until, problem } = state.connection;
	$('status-dot').className = `dot ${phase}`;
	setText($('status'), say(phase));
	// The seconds stand outside of the live region, which would read out each of them.
	setText($('countdown'), until > Date.now() ? say('inSeconds', { n: Math.ceil((until - Date.now()) / 1000) }) : '');
	$('notice').hidden = !problem || Boolean(nameError);
	setText($('notice-text'), problem ? say.error(problem) : '');
}

function updateRooms({ state, rooms }) {
	const own = { room: state.room, memberCount: state.memberCount };
	const shown = rooms.some(({ room }) => room === state.room) ? rooms : [own, ...rooms];
	const build = ({ room }) => element('li', {}, element('a', { dir: 'auto', href: `#${encodeURIComponent(room)}`, textContent: room }), element('span', { className: 'count' }));
	syncList($('rooms'), shown, ({ room }) => room, build, (item, { room, memberCount }) => {
		const [link, count] = item.children;
		link.ariaCurrent = room === state.room ? 'page' : null;
		setText(count, room === state.room ? state.memberCount : memberCount);
	});
}

function updatePeople({ state, say, local }) {
	const names = [...state.members.values()].sort((a, b) => a.localeCompare(b)).slice(0, LIMITS.people);
	const build = (name) => element('li', {}, avatarOf(name), element('span', { dir: 'auto', className: 'person', textContent: name }));
	syncList($('people'), names, (name) => name, build, (item, name) => item.classList.toggle('self', sameName(name, state.name)));
	setText($('member-count'), state.memberCount);
	const others = [[state.memberCount - names.length, 'andMore'], [state.listenerCount, 'listening']];
	setText($('listeners'), others.filter(([n]) => n > 0).map(([n, key]) => say(key, { n })).join(' · '));
	$('you').hidden = !state.name;
	setText($('own-name'), state.name);
	paint($('own-avatar'), state.name);
	const permission = globalThis.Notification?.permission;
	$('notify').hidden = !permission || permission === 'denied';
	$('notify').ariaPressed = Boolean(local.get('notify')) && permission === 'granted';
}

function updateLog({ state, say }) {
	const [scroller, log] = [$('scroller'), $('log')];
	const anchor = state.view.following ? null : anchorOf(scroller, log);
	syncList(log, rowsOf(state), ({ key }) => key, (row) => rowElement(row, say), (node, { kind, entry }) => {
		if (kind === 'day') setText(node.firstChild, dayWords(entry.sentAt, say.language));
	});
	const empty = state.entries.length === 0;
	$('oldest').hidden = empty ? state.connection.phase !== 'connected' : state.view.from > 0 || !state.oldestReached;
	setText($('oldest'), say(empty ? 'empty' : 'beginning'));
	const pending = state.pending.filter(({ seenAs }) => !seenAs);
	$('pending').hidden = pending.length === 0;
	syncList($('pending'), pending, ({ key }) => key, (item) => pendingElement(item, say), (node, item) => updatePending(node, item, say));
	if (state.view.following) scroller.scrollTop = scroller.scrollHeight;
	else restoreAnchor(scroller, log, anchor);
}

// The first message in sight and where it stands: there it is to stay while rows come and go above it.
function anchorOf(scroller, log) {
	const node = [...log.children].find((row) => row.dataset.id && row.offsetTop + row.offsetHeight > scroller.scrollTop);
	return node && { id: node.dataset.id, offset: node.offsetTop - scroller.scrollTop };
}

function restoreAnchor(scroller, log, anchor) {
	const node = anchor && log.querySelector(`[data-id="${CSS.escape(anchor.id)}"]`);
	if (node && Math.abs(node.offsetTop - scroller.scrollTop - anchor.offset) >= 1) scroller.scrollTop = node.offsetTop - anchor.offset;
}

function rowElement({ kind, entry, head, own, mention }, say) {
	if (kind === 'gap') return element('p', { className: 'gap', textContent: say(entry.reason === 'expired' ? 'gapExpired' : 'gapUnknown') });
	if (kind === 'day') return element('p', { className: 'day' }, element('span'));
	const sent = new Date(entry.sentAt);
	const title = sent.toLocaleString(undefined, { dateStyle: 'full', timeStyle: 'medium' });
	const heading = element('p', { className: head ? 'heading' : 'heading again' }, element('span', { className: 'name', dir: 'auto', textContent: entry.name }));
	if (!entry.member) heading.append(element('span', { className: 'visitor', textContent: say('visitor') }));
	if (head) {
		const textContent = sent.toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit' });
		heading.append(element('time', { dateTime: sent.toISOString(), textContent }));
	}
	const text = element('div', { className: 'text', dir: 'auto' }, ...tokensOf(entry.text).map(tokenElement));
	const className = ['message', head && 'head', own && 'own', mention && 'mention'].filter(Boolean).join(' ');
	const node = element('div', { className, title }, head ? avatarOf(entry.name) : element('span'), heading, element('div', { className: 'bubble' }, text));
	node.style.setProperty('--hue', hueOf(entry.name));
	node.dataset.id = entry.eventId;
	return node;
}

function tokenElement({ kind, text }) {
	if (kind === 'link') return element('a', { href: text, textContent: text, dir: 'ltr', target: '_blank', rel: 'noopener noreferrer' });
	if (kind === 'code') return element('code', { textContent: text });
	if (kind === 'block') return element('pre', { dir: 'ltr' }, element('code', { textContent: text }));
	return text;
}

function pendingElement({ key, text }, say) {
	const buttons = ['retry', 'drop'].map((action) => {
		const button = element('button', { type: 'button', className: 'plain', textContent: say(action) });
		Object.assign(button.dataset, { action, key });
		return button;
	});
	return element('li', {}, element('div', { className: 'text', dir: 'auto', textContent: text }), element('p', { className: 'foot' }, element('span'), ...buttons));
}

function updatePending(node, { status, error, retryAt }, say) {
	const [words, retry, drop] = node.lastChild.children;
	const waits = status === 'queued' && error?.code === 'too-many-messages';
	const n = Math.max(1, Math.ceil((retryAt - Date.now()) / 1000));
	const idle = status === 'failed' || status === 'queued';
	setText(words, waits ? say('rateLimited', { n }) : error && idle ? say.error(error) : say(idle ? 'queued' : 'sending'));
	node.className = status;
	retry.hidden = !idle || waits;
	drop.hidden = !idle;
}

function updateWriting({ state, say, naming, nameError }) {
	const joining = naming || !state.name;
	$('join').hidden = !joining;
	$('composer').hidden = joining;
	$('join-cancel').hidden = !state.name;
	setText($('name-help'), nameError ? say.error(nameError) : say('joinHelp'));
	$('name-help').classList.toggle('problem', Boolean(nameError));
	const text = $('text');
	text.placeholder = say('messageTo', { room: state.room });
	text.style.height = 'auto';
	text.style.height = `${text.scrollHeight}px`;
	const left = LIMITS.textBytes - new TextEncoder().encode(text.value.trimEnd()).length;
	$('send').disabled = left < 0 || !text.value.trim() || state.pending.length >= LIMITS.pending;
	const counter = left < 0 ? say('over', { n: -left }) : say('left', { n: left });
	setText($('composer-help'), left < LIMITS.textBytes - LIMITS.counterBytes ? counter : say('composerHelp'));
	$('composer-help').classList.toggle('problem', left < 0);
}

function dayWords(millis, language) {
	const midnight = (time) => new Date(time).setHours(0, 0, 0, 0);
	const days = Math.round((midnight(millis) - midnight(Date.now())) / 86_400_000);
	if (days === 0 || days === -1) return new Intl.RelativeTimeFormat(language, { numeric: 'auto' }).format(days, 'day');
	return new Date(millis).toLocaleDateString(language, { weekday: 'long', year: 'numeric', month: 'long', day: 'numeric' });
}

async function toggleNotifications(page) {
	const on = $('notify').ariaPressed !== 'true' && (await Notification.requestPermission()) === 'granted';
	page.local.set('notify', on);
	changed(page);
}

function notify({ local, state }, { eventId, name, text }) {
	if (!local.get('notify') || globalThis.Notification?.permission !== 'granted') return;
	try {
		// Tabs notify of one message under one tag, and the browser shows it once.
		const notification = new Notification(`${name} · #${state.room}`, { body: text.slice(0, 200), tag: eventId });
		notification.addEventListener('click', () => (window.focus(), notification.close()));
	} catch {
		// Android's browsers refuse the constructor: the count in the title has to do.
	}
}

function translate(say) {
	document.documentElement.lang = say.language;
	for (const node of document.querySelectorAll('[data-words]')) node.textContent = say(node.dataset.words);
	for (const node of document.querySelectorAll('[data-label]')) node.ariaLabel = say(node.dataset.label);
	for (const node of document.querySelectorAll('[data-hint]')) node.placeholder = say(node.dataset.hint);
}

const avatarOf = (name) => paint(element('span', { className: 'avatar', ariaHidden: 'true' }), name);

function paint(avatar, name) {
	setText(avatar, [...name][0]?.toUpperCase() ?? '');
	avatar.style.setProperty('--hue', hueOf(name));
	return avatar;
}

/** Makes the children of `parent` stand for `items`, in order, and keeps those that stood for them before. */
function syncList(parent, items, keyOf, build, refresh) {
	const focused = document.activeElement;
	const wanted = new Set(items.map(keyOf));
	const kept = new Map();
	for (const node of [...parent.children]) {
		if (wanted.has(node.syncKey)) kept.set(node.syncKey, node);
		else node.remove();
	}
	let next = parent.firstChild;
	for (const item of items) {
		const key = keyOf(item);
		const node = kept.get(key) ?? Object.assign(build(item), { syncKey: key });
		if (node === next) next = next.nextSibling;
		else parent.insertBefore(node, next);
		refresh(node, item);
	}
	if (parent.contains(focused)) focused.focus({ preventScroll: true }); // A node that moves loses it.
}

function element(tag, properties = {}, ...children) {
	const node = Object.assign(document.createElement(tag), properties);
	node.append(...children);
	return node;
}

// Screen readers would read an equal text again.
function setText(node, text) {
	if (node.textContent !== String(text)) node.textContent = text;
}

if (typeof document !== 'undefined') start();
