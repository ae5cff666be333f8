// One stream for all tabs under one name, with the rooms of all of them.

import { knownOf, LIMITS, snapshotOf } from './state.js';
import { isRoomName, sameName } from './text.js';
import { askStatus, openStream, randomKey, roomPath, silenceMillis } from './network.js';

const LEADER_MILLIS = 5000; // A leading tab that does not answer by then is frozen.

const ROOM_PROBLEMS = ['name-taken', 'bad-room', 'room-not-offered', 'too-many-rooms'];

/**
 * Joins the tabs with this key. The tab that gets the lock leads: it has the stream and relays its events. The others ask it for
 * what they lack; when it goes, the lock passes on, and the next leader resumes from its own position. What is relayed is an event,
 * `{ opened: rooms }`, `{ connection }`, `{ refused: { room, problem } }` or `{ nameless: problem }`.
 */
export function openFeed({ key, chat, followed, apply, adopt }) {
	const self = randomKey();
	const others = new Map(); // What other tabs show, by their key.
	const shared = Boolean(navigator.locks && typeof BroadcastChannel !== 'undefined');
	const channel = shared ? new BroadcastChannel(key) : null;
	const abort = new AbortController();
	/** @type {ReturnType<typeof openStream> | null} */
	let stream = null;
	let leading = false;
	let synced = false; // Events count only after the snapshot that they continue.
	let askedAt = 0;
	let heardAt = Date.now();
	let release = () => {};

	const closed = () => abort.signal.aborted;
	const send = (message) => closed() || channel?.postMessage({ ...message, from: self });
	const share = (what) => {
		if (closed()) return;
		send({ kind: 'relay', what });
		apply(what);
	};
	const tell = (kind) => send({ kind, room: chat.open, visible: !document.hidden });

	// ---- The leader's stream

	const shown = () => [chat.open, ...[...others.values()].map(({ room }) => room)];
	const wanted = () => [...new Set([...shown(), ...followed()])].filter((room) => isRoomName(room) && !chat.refused.has(room)).slice(0, LIMITS.rooms);

	function reopen() {
		if (!leading || closed()) return;
		const rooms = wanted();
		if (stream && rooms.length === chat.asked.length && rooms.every((room) => chat.asked.includes(room))) return;
		const quiet = chat.connection.phase === 'connected';
		stream?.close();
		stream = null;
		share({ opened: rooms });
		if (rooms.length) stream = openStream({ chat, quiet, deliver: share, report: (connection) => share({ connection }), refuse });
	}

	/** One room must not keep the others from being heard: it is left out, and its own tabs say why. */
	async function refuse(problem) {
		stream = null;
		if (problem.code === 'bad-name' || problem.code === 'banned') return share({ nameless: problem });
		let room = problem.room ?? (chat.asked.length === 1 ? chat.asked[0] : '');
		if (ROOM_PROBLEMS.includes(problem.code)) room ||= await findRefused(chat.asked);
		else room = '';
		if (!room || !chat.asked.includes(room)) return share({ connection: { phase: 'refused', problem } });
		share({ refused: { room, problem } });
		reopen();
	}

	async function findRefused(rooms) {
		for (const room of rooms) {
			const answer = await askStatus(`${roomPath(room)}?history=0`);
			if (ROOM_PROBLEMS.includes(answer.code ?? '')) return room;
		}
		return '';
	}

	function retry(room) {
		if (chat.refused.has(room)) share({ refused: { room } });
		if (!wanted().some((other) => !chat.asked.includes(other))) stream?.wake(true);
		reopen();
	}

	// ---- Who leads

	const lead = () => {
		leading = true;
		askedAt = 0;
		tell('leader');
		reopen();
	};
	const hold = () => new Promise((resolve) => {
		if (closed()) return resolve(undefined);
		release = () => resolve(undefined);
		return lead();
	});
	function queue(options) {
		navigator.locks.request(key, options, hold).catch(() => {
			if (closed()) return;
			leading = false; // Another tab found this one frozen and took the lock.
			stream?.close();
			stream = null;
			queue({ signal: abort.signal });
			ask();
		});
	}
	function ask() {
		synced = false;
		askedAt ||= Date.now();
		send({ kind: 'ask', known: knownOf(chat) });
	}

	function listen({ kind, from, to, what, known, snapshot, room, visible }) {
		if (kind === 'bye') others.delete(from);
		if (kind === 'here' || kind === 'hello' || kind === 'leader') others.set(from, { room, visible });
		if (kind === 'hello') tell('here');
		if (leading) {
			if (kind === 'ask') send({ kind: 'snapshot', to: from, snapshot: snapshotOf(chat, known) });
			if (kind === 'retry') retry(room);
			if (kind === 'here' || kind === 'hello' || kind === 'bye') reopen();
			return;
		}
		if (kind === 'leader') ask();
		if (kind === 'snapshot' && to === self) {
			synced = true;
			askedAt = 0;
			adopt(snapshot);
		}
		if (kind === 'relay' && synced) apply(what);
		if (kind === 'relay' || kind === 'snapshot' || kind === 'leader') heardAt = Date.now();
	}

	if (shared) {
		channel?.addEventListener('message', ({ data }) => closed() || listen(data));
		tell('hello');
		queue({ signal: abort.signal });
		ask();
	} else {
		queueMicrotask(lead);
	}
	return {
		/** The tab shows another room, or is seen or hidden: the others are told. */
		moved() {
			tell('here');
			reopen();
		},
		/** No other tab has this name. */
		isAlone: () => !others.size,
		/** The rooms that are followed changed. */
		followedChanged: reopen,
		retry(room) {
			if (leading) retry(room);
			else send({ kind: 'retry', room });
		},
		/** Of several tabs one speaks, and only where no tab has the room in sight. */
		notifies: (room) => leading && ![...others.values()].some((other) => other.visible && sameName(other.room, room)),
		/** Phones freeze hidden tabs, the lock in their hands: a tab that is looked at takes it from them. */
		tick() {
			stream?.tick();
			if (leading || !shared || document.hidden) return;
			if (!askedAt && Date.now() - heardAt > silenceMillis(chat)) ask();
			if (askedAt && Date.now() - askedAt > LEADER_MILLIS) {
				askedAt = 0;
				queue({ steal: true });
			}
		},
		wake(anyway) {
			stream?.wake(anyway);
			if (!leading && shared) ask();
		},
		/** Tells the others that this tab goes; it may come back from the browser's cache. */
		goodbye: () => send({ kind: 'bye' }),
		close() {
			send({ kind: 'bye' });
			abort.abort();
			release();
			stream?.close();
			channel?.close();
		},
	};
}
