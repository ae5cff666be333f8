// Requests and their answers, the event stream, and messages on their way.

import { compareIds } from './state.js';

export const PENDING_MOST = 50; // Messages that may wait to be sent.
const ANSWER_MILLIS = 15_000;
const HISTORY = { inAll: 200, most: 50, least: 10 }; // Messages that a stream begins with: in all its rooms, in each.

const EVENTS = ['chat-room-connected', 'messages-missed', 'new-message', 'message-removed', 'members-changed', 'heartbeat', 'server-closing'];

/** Random, so that a server that comes back is not overrun. */
export const backoffMillis = (attempt, random = Math.random()) => Math.round(1000 + random * (Math.min(3000 * 2 ** attempt, 30_000) - 1000));

/** @param {any} body @returns {Answer} */
export function judgeAnswer(status, body = null, retryAfter = '') {
	if (status >= 200 && status < 300) return { kind: 'done', eventId: body?.eventId, body };
	const { error: code, message, room } = body ?? {};
	const kind = [0, 408, 429, 502, 503, 504].includes(status) && code !== 'storage-failed' ? 'later' : 'failed';
	return { kind, status, code, message, room, millis: Number(retryAfter) * 1000 || undefined };
}

// A page over plain HTTP has no `crypto.randomUUID`.
export const randomKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');

export const roomPath = (room) => `chat/${encodeURIComponent(room)}`;

/** @returns {Promise<Answer>} */
export async function request(url, { method = 'GET', headers, json } = /** @type {any} */ ({})) {
	const abort = new AbortController();
	const timer = setTimeout(() => abort.abort(), ANSWER_MILLIS);
	try {
		const content = json && { headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(json) };
		const answer = await fetch(url, { method, headers, signal: abort.signal, ...content });
		// The body of an event stream does not end.
		const body = answer.status !== 204 && /json/.test(answer.headers.get('Content-Type') ?? '') ? await answer.json() : null;
		const meaning = judgeAnswer(answer.status, body, answer.headers.get('Retry-After') ?? '');
		return { ...meaning, until: Date.now() + (meaning.millis ?? 0) };
	} catch {
		return judgeAnswer(0);
	} finally {
		clearTimeout(timer);
		abort.abort();
	}
}

/** EventSource hides the status of a refusal. */
export const askStatus = (url) => request(url, { headers: { Accept: 'text/event-stream' } });

// ---- The stream

/** Rooms that are not `settled` begin with their history, the others at `position`. */
export function streamUrl({ name, asked, settled, position }) {
	const history = Math.max(HISTORY.least, Math.min(HISTORY.most, Math.floor(HISTORY.inAll / asked.length)));
	const query = [...asked.map((room) => ['room', room]), ['history', history]];
	if (name) query.push(['name', name]);
	if (position) query.push(['lastEventId', position], ...asked.filter((room) => !settled.has(room)).map((room) => ['new', room]));
	return `chat?${new URLSearchParams(query)}`;
}

/** A stream silent for longer has died. */
export const silenceMillis = ({ heartbeatSeconds }) => (heartbeatSeconds ? heartbeatSeconds * 2500 + 2000 : Infinity);

/** Reconnects, since EventSource gives up on any status but 200. `refuse` is told what another try would only repeat. */
export function openStream({ chat, quiet, deliver, report, refuse }) {
	/** @type {any} */
	let source = null;
	let timer;
	let attempt = 0;
	let heardAt = 0;
	let patience = ANSWER_MILLIS;
	let closed = false;

	function connect() {
		clearTimeout(timer);
		source?.close();
		heardAt = Date.now();
		patience = ANSWER_MILLIS;
		if (!quiet || attempt) report({ phase: attempt ? 'waiting' : 'connecting' });
		const current = new EventSource(streamUrl(chat));
		source = current;
		for (const event of EVENTS) {
			current.addEventListener(event, ({ data, lastEventId }) => {
				if (current !== source) return;
				heardAt = Date.now();
				attempt = 0;
				deliver({ event, id: lastEventId, data: JSON.parse(data) });
				patience = silenceMillis(chat);
			});
		}
		current.addEventListener('error', () => current === source && lose(current.readyState === EventSource.CLOSED));
	}

	async function lose(refused) {
		const current = source;
		current?.close();
		const why = refused ? await askStatus(streamUrl(chat)) : judgeAnswer(0);
		if (source !== current || closed) return;
		source = null;
		if (why.kind === 'failed' || (why.code === 'too-many-rooms' && chat.asked.length > 1)) return refuse(why);
		const millis = why.millis ?? backoffMillis(attempt);
		attempt += 1;
		report({ phase: navigator.onLine ? 'waiting' : 'offline', until: Date.now() + millis, problem: why.code && why });
		timer = setTimeout(connect, millis);
	}

	connect();
	return {
		tick: () => source && Date.now() - heardAt > patience && lose(false),
		wake: (anyway) => (anyway || !source || Date.now() - heardAt > silenceMillis(chat) / 2) && connect(),
		close() {
			closed = true;
			clearTimeout(timer);
			source?.close();
		},
	};
}

// ---- Messages on their way

/** @returns {Pending} */
export const newPending = (key, room, name, text) => ({ key, room, name, text, status: 'queued', tries: 0, retryAt: 0 });

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
		if (chat.position && compareIds(eventId, chat.position) <= 0) dropPending(chat, item);
	} else if (kind === 'later') {
		const retryAt = now + (millis ?? backoffMillis(item.tries));
		Object.assign(item, { status: 'queued', tries: item.tries + 1, retryAt, error: problem.status ? problem : undefined });
	} else if (problem.code === 'removed') {
		dropPending(chat, item); // It was stored, and has been removed since.
	} else {
		Object.assign(item, { status: 'failed', error: problem });
	}
}

/** If the stream tells of a message before its answer comes, the pending one is hidden. */
export function settlePending(chat, { eventId, room, name, text }) {
	chat.pending = chat.pending.filter((item) => !item.eventId || compareIds(item.eventId, eventId) > 0);
	const twin = chat.pending.find((item) => item.status === 'sending' && !item.seenAs && item.room === room && item.name === name && item.text.trimEnd() === text.trimEnd());
	if (twin) twin.seenAs = eventId;
}

/** Sends one message after the other, each until an answer comes, so that they keep their order. */
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
		const answer = await request(roomPath(room), { method: 'POST', headers: { 'Idempotency-Key': key }, json: { name, text } });
		busy = false;
		applyAnswer(chat, item, answer);
		changed();
		flush();
	}

	return {
		flush,
		/** Sends what waits for the connection, but not what the server told to wait. */
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
