// Requests, the event stream and the tabs that share it, and messages on their way.

import { applyOpened, isAfter, knownOf, LIMITS, snapshotOf } from './state.js';

export const PENDING_MOST = 50; // Messages waiting to be sent.
const ANSWER_MILLIS = 15_000; // What gives no answer by then has failed.
const LEADER_MILLIS = 5000; // A leading tab that gives none is frozen.
const HISTORY = { inAll: 200, least: 10 }; // Messages that a stream begins with.

const EVENTS = ['chat-room-connected', 'messages-missed', 'new-message', 'message-removed', 'members-changed', 'heartbeat', 'server-closing'];
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
		if (!isJson) answer.body?.cancel(); // That of an event stream does not end.
		return judgeAnswer(answer.status, isJson && (await answer.json()), Number(answer.headers.get('Retry-After')));
	} catch {
		return judgeAnswer(0);
	}
}

// EventSource hides the status of a refusal.
const askStatus = (url) => request(url, 'GET', undefined, { Accept: 'text/event-stream' });

// ---- The stream

export function streamUrl({ name, asked, position }) {
	const history = Math.max(HISTORY.least, Math.min(LIMITS.backlog, Math.floor(HISTORY.inAll / asked.length)));
	const query = [...asked.map((room) => ['room', room]), ['history', history]];
	if (name) query.push(['name', name]);
	if (position) query.push(['lastEventId', position]);
	return `chat?${new URLSearchParams(query)}`;
}

// A stream silent for longer has died.
const silenceMillis = ({ heartbeatSeconds }) => (heartbeatSeconds ? heartbeatSeconds * 2500 + 2000 : Infinity);

/** Reconnects by itself, as EventSource gives up on any status but 200. `refuse` is told what no other try would change. */
function openStream(chat, quiet, share, refuse) {
	let source;
	let timer;
	let attempt = 0;
	let heardAt = 0;
	let patience = 0;

	function connect() {
		close();
		heardAt = Date.now();
		patience = ANSWER_MILLIS;
		if (!quiet || attempt) share({ connection: { phase: attempt ? 'waiting' : 'connecting' } });
		const resumes = Boolean(chat.position);
		const current = new EventSource(streamUrl(chat));
		source = current;
		for (const event of EVENTS) {
			current.addEventListener(event, ({ data, lastEventId: id }) => {
				if (current !== source) return;
				heardAt = Date.now();
				attempt = 0;
				share({ event, id, data: JSON.parse(data), resumes });
				patience = silenceMillis(chat);
			});
		}
		current.onerror = () => current === source && lose(current.readyState === EventSource.CLOSED);
	}

	async function lose(refused) {
		const current = source;
		current?.close();
		const why = refused ? await askStatus(streamUrl(chat)) : judgeAnswer(0);
		if (source !== current) return;
		source = undefined;
		if (why.kind === 'failed' || (why.code === 'too-many-rooms' && chat.asked.length > 1)) return refuse(why);
		const millis = why.millis || backoffMillis(attempt);
		attempt += 1;
		share({ connection: { phase: navigator.onLine ? 'waiting' : 'offline', until: Date.now() + millis, problem: why.code && why } });
		timer = setTimeout(connect, millis);
	}

	function close() {
		clearTimeout(timer);
		source?.close();
		source = undefined;
	}

	connect();
	return {
		close,
		tick: () => source && Date.now() - heardAt > patience && lose(false),
		wake: (anyway) => (anyway || !source || Date.now() - heardAt > silenceMillis(chat) / 2) && connect(),
	};
}

/** One stream for all tabs under one name. The tab that holds the lock leads: it has the stream, and relays what it tells. */
export function openFeed(chat, key, wanted, apply) {
	const self = randomKey();
	const others = new Map(); // What other tabs show.
	const channel = navigator.locks && new BroadcastChannel(key);
	const end = new AbortController();
	const { signal } = end;
	const ended = new Promise((resolve) => (signal.onabort = resolve));
	let stream;
	let leading = false;
	let askedAt = 0; // Until the leader answers, what it relays does not continue what is here.
	let heardAt = Date.now();

	const send = (kind, message) => signal.aborted || channel?.postMessage({ kind, from: self, ...message });
	const tell = (kind) => send(kind, { room: chat.open, visible: !document.hidden });
	const share = (what) => {
		if (signal.aborted) return;
		send('relay', { what });
		apply(what);
	};
	const drop = () => {
		stream?.close();
		stream = undefined;
	};

	function reopen() {
		if (!leading || signal.aborted) return;
		const rooms = wanted([chat.open, ...[...others.values()].map(({ room }) => room)]).slice(0, LIMITS.rooms);
		if (stream && String(rooms.toSorted()) === String(chat.asked.toSorted())) return;
		const quiet = chat.connection.phase === 'connected';
		drop();
		applyOpened(chat, rooms); // What follows asks for them.
		share({ opened: rooms });
		if (rooms.length) stream = openStream(chat, quiet, share, refuse);
	}

	/** A room that is refused is left out, so that the others are heard. */
	async function refuse(problem) {
		stream = undefined;
		const { code } = problem;
		if (['bad-name', 'banned'].includes(code)) return share({ nameless: problem });
		const room = ROOM_PROBLEMS.includes(code) && (problem.room ?? (chat.asked.length > 1 ? await findRefused() : chat.asked[0]));
		if (!room) return share({ connection: { phase: 'refused', problem } });
		share({ refused: { room, problem } });
		reopen();
	}

	async function findRefused() {
		for (const room of chat.asked) {
			const { code = '' } = await askStatus(`${roomPath(room)}?history=0`);
			if (ROOM_PROBLEMS.includes(code)) return room;
		}
	}

	function retry(room) {
		if (chat.refused.has(room)) share({ refused: { room } });
		else stream?.wake(true);
		reopen();
	}

	function lead() {
		if (signal.aborted) return;
		leading = true;
		askedAt = 0;
		tell('leader');
		reopen();
		return ended;
	}

	function queue(options) {
		navigator.locks.request(key, options, lead).catch(() => {
			if (signal.aborted) return;
			leading = false; // Another tab stole the lock.
			drop();
			queue({ signal });
			ask();
		});
	}

	function ask() {
		askedAt ||= Date.now();
		send('ask', { known: knownOf(chat) });
	}

	/** A tab that crashed does not answer. */
	function greet() {
		others.clear();
		tell('hello');
	}

	function listen({ kind, from, to, what, known, snapshot, room, visible }) {
		if (kind === 'bye') others.delete(from);
		if (room !== undefined && kind !== 'retry') others.set(from, { room, visible });
		if (kind === 'hello') tell('here');
		if (leading) {
			if (kind === 'ask') send('snapshot', { to: from, snapshot: snapshotOf(chat, known) });
			else if (kind === 'retry') retry(room);
			else reopen();
			return;
		}
		if (['relay', 'snapshot', 'leader'].includes(kind)) heardAt = Date.now();
		if (kind === 'leader') ask();
		else if (kind === 'relay' && !askedAt) apply(what);
		else if (to === self) {
			askedAt = 0;
			apply({ snapshot });
		}
	}

	if (channel) {
		channel.onmessage = ({ data }) => signal.aborted || listen(data);
		greet();
		queue({ signal });
		ask();
	} else {
		queueMicrotask(lead);
	}
	return {
		greet,
		moved() {
			tell('here');
			reopen();
		},
		retry: (room) => (leading ? retry(room) : send('retry', { room })),
		isAlone: () => !others.size,
		/** One tab notifies, if none has the room in sight. */
		notifies: (room) => leading && ![...others.values()].some((other) => other.visible && other.room === room),
		/** A tab may be frozen while it leads: a visible one steals the lock. */
		tick() {
			stream?.tick();
			if (leading || document.hidden) return;
			if (!askedAt && Date.now() - heardAt > silenceMillis(chat)) ask();
			if (!askedAt || Date.now() - askedAt < LEADER_MILLIS) return;
			askedAt = Date.now();
			queue({ steal: true });
		},
		wake(anyway) {
			stream?.wake(anyway);
			if (!leading) ask();
		},
		goodbye: () => send('bye'),
		close() {
			send('bye');
			end.abort();
			drop();
			channel?.close();
		},
	};
}

// ---- Messages on their way

/** @returns {Pending} */
export const newPending = (key, room, name, text) => ({ key, room, name, text, status: 'queued', tries: 0, retryAt: 0 });

export const addPending = (chat, text) => chat.pending.push(newPending(randomKey(), chat.open, chat.name, text));

export function restorePending(chat, items) {
	chat.pending = items.map((item) => (item.status === 'failed' ? item : { ...item, status: 'queued', retryAt: 0 }));
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
		dropPending(chat, item); // It was stored before.
	} else {
		Object.assign(item, { status: 'failed', error: problem });
	}
}

/** The stream may tell of a message before its answer comes. */
export function settlePending(chat, { eventId, room, name, text }) {
	chat.pending = chat.pending.filter((item) => !item.eventId || isAfter(item.eventId, eventId));
	const twin = chat.pending.find((item) => item.status === 'sending' && !item.seenAs
		&& item.room === room && item.name === name && item.text.trimEnd() === text.trimEnd());
	if (twin) twin.seenAs = eventId;
}

/** Sends one message after the other, in their order. */
export function openOutbox(chat, changed) {
	let busy = false;
	let timer;

	async function flush() {
		clearTimeout(timer);
		const item = chat.pending.find(({ status }) => status === 'queued');
		if (busy || !item) return;
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
