// Requests, what their answers mean, and the event stream.

/**
 * A refusal, or a request that got no answer (status 0).
 * @typedef {{ status: number, code?: string, message?: string, room?: string, until?: number, name?: string }} Problem
 * @typedef {{ kind: 'done' | 'later' | 'failed', millis?: number, eventId?: string, body?: any } & Partial<Problem>} Answer
 */

const ANSWER_MILLIS = 15_000; // Without an answer by then a request has failed.
const HISTORY_IN_ALL = 200; // Messages that a stream begins with, in all its rooms,
const HISTORY_MOST = 50; // in a single room,
const HISTORY_LEAST = 10; // and in each of many.

const EVENTS = ['chat-room-connected', 'messages-missed', 'new-message', 'message-removed', 'members-changed', 'heartbeat', 'server-closing'];

/** Waiting before a try, the first being 0: spread at random, so that a server that comes back is not overrun. */
export function backoffMillis(attempt, random = Math.random()) {
	return Math.round(1000 + random * (Math.min(3000 * 2 ** attempt, 30_000) - 1000));
}

/**
 * What an answer means: `done`, worth trying again `later`, or `failed` until a person does something.
 * @param {any} body
 * @returns {Answer}
 */
export function judgeAnswer(status, body = null, retryAfter = '') {
	if (status >= 200 && status < 300) return { kind: 'done', eventId: body?.eventId };
	const millis = Number(retryAfter) > 0 ? Number(retryAfter) * 1000 : undefined;
	const problem = { status, code: body?.error, message: body?.message, room: body?.room, millis };
	const passing = [0, 408, 429, 502, 503, 504].includes(status);
	return { kind: passing && problem.code !== 'storage-failed' ? 'later' : 'failed', ...problem };
}

// `crypto.randomUUID` is missing where a page came by plain http.
export const randomKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');

export const roomPath = (room) => `chat/${encodeURIComponent(room)}`;

/**
 * @param {string} url
 * @param {{ method?: string, headers?: Record<string, string>, json?: any }} options
 * @returns {Promise<Answer>}
 */
export async function request(url, { method = 'GET', headers = {}, json } = {}) {
	const abort = new AbortController();
	const timer = setTimeout(() => abort.abort(), ANSWER_MILLIS);
	try {
		const content = json && { headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(json) };
		const answer = await fetch(url, { method, headers, signal: abort.signal, ...content });
		// Of an event stream only the status is wanted, since its body does not end.
		const body = answer.status !== 204 && /json/.test(answer.headers.get('Content-Type') ?? '') ? await answer.json() : null;
		const meaning = judgeAnswer(answer.status, body, answer.headers.get('Retry-After') ?? '');
		const until = meaning.code === 'banned' && meaning.millis ? Date.now() + meaning.millis : undefined;
		return { ...meaning, body, until };
	} catch {
		return judgeAnswer(0);
	} finally {
		clearTimeout(timer);
		abort.abort();
	}
}

/** Asks for a stream only to read the status, which EventSource hides. */
export const askStatus = (url) => request(url, { headers: { Accept: 'text/event-stream' } });

/** The address of the stream of these rooms. Rooms that are not `settled` begin with their history, the others at `position`. */
export function streamUrl({ name, asked, settled, position }) {
	const query = new URLSearchParams(asked.map((room) => ['room', room]));
	if (name) query.set('name', name);
	const history = Math.floor(HISTORY_IN_ALL / asked.length);
	query.set('history', String(Math.max(HISTORY_LEAST, Math.min(HISTORY_MOST, history))));
	if (position) {
		query.set('lastEventId', position);
		for (const room of asked) if (!settled.has(room)) query.append('new', room);
	}
	return `chat?${query}`;
}

/** A stream silent for longer has died; a server without heartbeats leaves that open. */
export const silenceMillis = ({ heartbeatSeconds }) => (heartbeatSeconds ? heartbeatSeconds * 2500 + 2000 : Infinity);

/**
 * The event stream, connected again and again. EventSource's own reconnect gives up on any status but 200, and does not tell when
 * it tries. A refusal that another try would only repeat ends this one.
 */
export function openStream({ chat, quiet, deliver, report, refuse }) {
	/** @type {EventSource | null} */
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
		/** Notices a connection that died without a word: heartbeats should have come. */
		tick: () => source && Date.now() - heardAt > patience && lose(false),
		/** Comes back at once after sleep or when the network is there again. */
		wake: (anyway) => (anyway || !source || Date.now() - heardAt > silenceMillis(chat) / 2) && connect(),
		close() {
			closed = true;
			clearTimeout(timer);
			source?.close();
			source = null;
		},
	};
}
