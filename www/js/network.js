// Requests, the event stream and the tabs that have one, and messages on their way.

import { applyClosed, applyOpened, isAfter, LIMITS } from './state.js';

// Messages waiting to be sent.
export const PENDING_MOST = 50;
// What gives no answer by then has failed.
const ANSWER_MILLIS = 15_000;
// Messages that a stream begins with.
const HISTORY = { inAll: 200, least: 10 };

// Over HTTP/1.1 a browser opens six connections, and some are for sending.
const STREAMS = 4;
// Where more are in sight than that, they take turns.
const TURN_MILLIS = 5000;
const TELL_MILLIS = 10_000;
// A tab that was silent for longer has crashed: a hidden one may speak once a minute.
const ALIVE_MILLIS = 150_000;

const EVENTS = ['chat-room-connected', 'messages-missed', 'new-message', 'message-removed', 'members-changed', 'caught-up', 'heartbeat', 'server-closing'];
const ROOM_PROBLEMS = ['name-taken', 'bad-room', 'room-not-offered', 'too-many-rooms'];

/** Random, so that a server that comes back is not overrun. */
export const backoffMillis = (attempt, random = Math.random()) => Math.round(1000 + random * (Math.min(3000 * 2 ** attempt, 30_000) - 1000));

/** @param {any} [body] @returns {Answer} */
export function judgeAnswer(status, body, retryAfter = 0) {
	if (status >= 200 && status < 300) return { kind: 'done', eventId: body?.eventId, body };
	const { error: code, message, room } = body ?? {};
	const kind = [0, 408, 429, 502, 503, 504].includes(status) && code !== 'storage-failed' ? 'later' : 'failed';
	const millis = Number(retryAfter) * 1000;
	return { kind, status, code, message, room, millis, until: Date.now() + millis };
}

// A page over plain HTTP has no `crypto.randomUUID`.
const randomKey = () => crypto.getRandomValues(new Uint32Array(4)).join('-');

export const roomPath = (room) => `chat/${encodeURIComponent(room)}`;

/** @returns {Promise<Answer>} */
export async function request(url, method = 'GET', /** @type {any} */ json = undefined, headers = {}) {
	try {
		const answer = await fetch(url, {
			method, headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(json), signal: AbortSignal.timeout(ANSWER_MILLIS),
		});
		const isJson = answer.headers.get('Content-Type')?.includes('json');
		// That of an event stream does not end.
		if (!isJson) answer.body?.cancel();
		return judgeAnswer(answer.status, isJson && (await answer.json()), Number(answer.headers.get('Retry-After')));
	} catch {
		return judgeAnswer(0);
	}
}

// EventSource hides the status of a refusal.
const askStatus = (url) => request(url, 'GET', undefined, { Accept: 'text/event-stream' });

// ---- The stream

export function streamUrl({ name, asked, position }) {
	const history = Math.max(HISTORY.least, Math.min(LIMITS.history, Math.floor(HISTORY.inAll / asked.length)));
	const query = [...asked.map((room) => ['room', room]), ['history', history]];
	if (name) query.push(['name', name]);
	if (position) query.push(['lastEventId', position]);
	return `chat?${new URLSearchParams(query)}`;
}

// A stream silent for longer has died.
const silenceMillis = ({ heartbeatSeconds }) => (heartbeatSeconds ? heartbeatSeconds * 2500 + 2000 : Infinity);

/** Reconnects by itself, as EventSource gives up on any status but 200. `refuse` is told what no other try would change. */
function openStream(chat, quiet, tell, refuse) {
	let source;
	let timer;
	let attempt = 0;
	let heardAt = 0;
	let patience = 0;

	function connect() {
		close();
		heardAt = Date.now();
		patience = ANSWER_MILLIS;
		if (!quiet || attempt) tell({ connection: { phase: attempt ? 'waiting' : 'connecting' } });
		const current = new EventSource(streamUrl(chat));
		source = current;
		for (const event of EVENTS) {
			current.addEventListener(event, ({ data, lastEventId: id }) => {
				if (current !== source) return;
				heardAt = Date.now();
				attempt = 0;
				tell({ event, id, data: JSON.parse(data) });
				patience = silenceMillis(chat);
			});
		}
		current.onerror = () => current === source && lose(current.readyState === EventSource.CLOSED);
	}

	async function lose(refused) {
		const current = source;
		current?.close();
		applyClosed(chat);
		const why = refused ? await askStatus(streamUrl(chat)) : judgeAnswer(0);
		if (source !== current) return;
		source = undefined;
		if (why.kind === 'failed' || (why.code === 'too-many-rooms' && chat.asked.length > 1)) return refuse(why);
		const millis = why.millis || backoffMillis(attempt);
		attempt += 1;
		tell({ connection: { phase: navigator.onLine ? 'waiting' : 'offline', until: Date.now() + millis, problem: why.code && why } });
		timer = setTimeout(connect, millis);
	}

	function close() {
		clearTimeout(timer);
		source?.close();
		source = undefined;
		applyClosed(chat);
	}

	connect();
	return {
		close,
		tick: () => source && Date.now() - heardAt > patience && lose(false),
		wake: (anyway) => (anyway || !source || Date.now() - heardAt > silenceMillis(chat) / 2) && connect(),
	};
}

/** A stream of the rooms that are wanted, while this tab `listens`. */
export function openFeed(chat, listens, wanted, apply) {
	let stream;
	let ended = false;

	const tell = (what) => ended || apply(what);
	const close = () => {
		stream?.close();
		stream = undefined;
	};

	function reopen() {
		if (ended || !listens()) return close();
		const rooms = wanted().slice(0, LIMITS.rooms);
		if (stream && String(rooms.toSorted()) === String(chat.asked.toSorted())) return;
		close();
		applyOpened(chat, rooms);
		if (rooms.length) stream = openStream(chat, chat.connection.phase === 'connected', tell, refuse);
	}

	/** A room that is refused is left out, so that the others are heard. */
	async function refuse(problem) {
		const current = stream;
		const { code } = problem;
		if (['bad-name', 'banned'].includes(code)) return tell({ nameless: problem });
		const room = ROOM_PROBLEMS.includes(code) && (problem.room ?? (chat.asked.length > 1 ? await findRefused() : chat.asked[0]));
		if (!room) return tell({ connection: { phase: 'refused', problem } });
		if (stream !== current) return;
		close();
		tell({ refused: { room, problem } });
		reopen();
	}

	async function findRefused() {
		for (const room of chat.asked) {
			const { code = '' } = await askStatus(`${roomPath(room)}?history=0`);
			if (ROOM_PROBLEMS.includes(code)) return room;
		}
	}

	queueMicrotask(reopen);
	return {
		reopen,
		retry(room) {
			if (chat.refused.has(room)) tell({ refused: { room } });
			else stream?.wake(true);
			reopen();
		},
		tick: () => stream?.tick(),
		wake: (anyway) => stream?.wake(anyway),
		close() {
			ended = true;
			close();
		},
	};
}

// ---- The tabs of this browser

/** A window in sight may not be in use, unless there is but one, as on a phone. */
export const isAway = () => document.hidden || !(document.hasFocus() || matchMedia('(hover: none)').matches);

/** Those in sight listen, and of those that are hidden the one that was seen last, under each name. */
export function openTabs(chat, changed) {
	const channel = new BroadcastChannel(`chatroom ${location.pathname}`);
	const id = Math.random();
	// What the others told.
	const heard = new Map();
	let seen = Date.now();
	let toldAt = 0;
	// A tab that closes becomes hidden, too.
	let gone = false;

	const own = () => ({ id, seen, name: chat.name, room: chat.open, hidden: document.hidden, away: isAway(), gone });
	const others = () => [...heard.values()].filter(({ at }) => Date.now() - at < ALIVE_MILLIS);
	const isLater = (other) => other.seen > seen || (other.seen === seen && other.id > id);
	const outranks = ({ hidden, ...other }) => (hidden === document.hidden ? isLater(other) : document.hidden);

	function tell() {
		toldAt = Date.now();
		channel.postMessage(own());
	}

	function touch() {
		seen = Date.now();
		tell();
		changed();
	}

	channel.onmessage = ({ data }) => {
		if (!heard.has(data.id) && !data.gone) tell();
		heard.set(data.id, { ...data, at: data.gone ? 0 : Date.now() });
		changed();
	};
	tell();

	const tabs = {
		touch,
		leave(leaving) {
			gone = leaving;
			touch();
		},
		listens() {
			const before = others().filter(outranks);
			const watched = before.some(({ hidden, name }) => hidden && name === chat.name);
			return chat.pending.length > 0 || (!watched && new Set(before.map(({ hidden, name, id }) => (hidden ? name : id))).size < STREAMS);
		},
		/** One tab tells of a message, if none has the room in use. */
		notifies: (room) => !others().some((other) => !other.hidden && ((other.room === room && !other.away) || (other.name === chat.name && outranks(other)))),
		tick() {
			if (!document.hidden && !tabs.listens() && Date.now() - seen > TURN_MILLIS) touch();
			else if (Date.now() - toldAt > TELL_MILLIS) tell();
			changed();
		},
	};
	return tabs;
}

// ---- Messages on their way

/** @returns {Pending} */
export const newPending = (key, room, name, text) => ({ key, room, name, text, status: 'queued', tries: 0, retryAt: 0, at: Date.now() });

export const addPending = (chat, text) => chat.pending.push(newPending(randomKey(), chat.open, chat.name, text));

export function restorePending(chat, items) {
	const isNew = ({ key }) => !chat.pending.some((item) => item.key === key);
	chat.pending.push(...items.filter(isNew).map((item) => (item.status === 'failed' ? item : { ...item, status: 'queued', retryAt: 0 })));
}

export function dropPending(chat, item) {
	chat.pending = chat.pending.filter((other) => other !== item);
}

export function applyAnswer(chat, item, /** @type {Answer} */ { kind, eventId = '', millis, ...problem }, now = Date.now()) {
	if (kind === 'failed' || problem.status) delete item.seenAs;
	if (kind === 'done') {
		Object.assign(item, { status: 'stored', eventId });
		if (!isAfter(eventId, chat.position)) dropPending(chat, item);
	} else if (kind === 'later') {
		const retryAt = now + (millis || backoffMillis(item.tries));
		Object.assign(item, { status: 'queued', tries: item.tries + 1, retryAt, error: problem.status ? problem : undefined });
	} else if (problem.code === 'removed') {
		// It was stored before.
		dropPending(chat, item);
	} else {
		Object.assign(item, { status: 'failed', error: { ...problem, name: item.name } });
	}
}

/** The stream may tell of a message before its answer comes. */
export function settlePending(chat, { eventId, room, name, text }) {
	chat.pending = chat.pending.filter((item) => !item.eventId || isAfter(item.eventId, eventId));
	const twin = chat.pending.find((item) => item.status === 'sending' && !item.seenAs
		&& item.room === room && item.name === name && item.text.trimEnd() === text.trimEnd());
	if (twin) twin.seenAs = eventId;
}

// A message of somebody who is not yet in the room would count as a program's.
const isJoining = ({ asked, joined, connection }, { room }) => asked.includes(room) && !joined.has(room) && !connection.problem;

/** Sends one message after the other, in their order. */
export function openOutbox(chat, changed) {
	let busy = false;
	let timer;

	async function flush() {
		clearTimeout(timer);
		const item = chat.pending.find(({ status }) => status === 'queued');
		if (busy || !item || isJoining(chat, item)) return;
		const wait = item.retryAt - Date.now();
		if (wait > 0) return void (timer = setTimeout(flush, wait));
		busy = true;
		item.status = 'sending';
		changed();
		const { key, room, name, text } = item;
		const answer = await request(roomPath(room), 'POST', { name, text }, { 'Idempotency-Key': key });
		busy = false;
		applyAnswer(chat, item, answer);
		changed();
		flush();
	}

	return {
		flush,
		/** Does not hurry what the server told to wait. */
		wake() {
			for (const item of chat.pending) if (item.status === 'queued' && !item.error) item.retryAt = 0;
			flush();
		},
		retry(item) {
			// Under another name it is another message.
			if (item.status === 'failed' && chat.name && item.name !== chat.name) Object.assign(item, { name: chat.name, key: randomKey() });
			Object.assign(item, { status: 'queued', tries: 0, retryAt: 0, error: undefined });
			flush();
		},
	};
}
