// One stream for all tabs under one name, with the rooms of all of them.

import { knownOf, LIMITS, snapshotOf } from './state.js';
import { askStatus, openStream, randomKey, roomPath, silenceMillis } from './network.js';
import { isRoomName } from './text.js';

const LEADER_MILLIS = 5000; // A leading tab that does not answer by then is frozen.

const ROOM_PROBLEMS = ['name-taken', 'bad-room', 'room-not-offered', 'too-many-rooms'];

/**
 * The tab that gets the lock leads: it has the stream and relays what it tells. The others ask it for what they lack; when it goes,
 * the lock passes on, and the next leader resumes from its own position.
 */
export function openFeed({ key, chat, followed, apply, adopt }) {
	const self = randomKey();
	const others = new Map(); // What other tabs show.
	const channel = navigator.locks && globalThis.BroadcastChannel ? new BroadcastChannel(key) : null;
	const abort = new AbortController();
	const { signal } = abort;
	/** @type {ReturnType<typeof openStream> | null} */
	let stream = null;
	let leading = false;
	let synced = false; // Events count only after the snapshot that they continue.
	let askedAt = 0;
	let heardAt = Date.now();
	let release = () => {};

	const send = (kind, message = {}) => signal.aborted || channel?.postMessage({ kind, from: self, ...message });
	const tell = (kind) => send(kind, { room: chat.open, visible: !document.hidden });
	const share = (what) => {
		if (signal.aborted) return;
		send('relay', { what });
		apply(what);
	};
	const drop = () => {
		stream?.close();
		stream = null;
	};

	function wanted() {
		const shown = [...others.values()].map(({ room }) => room);
		return [...new Set([chat.open, ...shown, ...followed()])].filter((room) => isRoomName(room) && !chat.refused.has(room)).slice(0, LIMITS.rooms);
	}

	function reopen() {
		if (!leading || signal.aborted) return;
		const rooms = wanted();
		if (stream && String(rooms.toSorted()) === String(chat.asked.toSorted())) return;
		const quiet = chat.connection.phase === 'connected';
		drop();
		share({ opened: rooms });
		if (rooms.length) stream = openStream({ chat, quiet, deliver: share, report: (connection) => share({ connection }), refuse });
	}

	/** One room must not keep the others from being heard: it is left out, and its own tabs say why. */
	async function refuse(problem) {
		stream = null;
		const { code } = problem;
		if (code === 'bad-name' || code === 'banned') return share({ nameless: problem });
		let room = '';
		if (ROOM_PROBLEMS.includes(code)) room = problem.room ?? (chat.asked.length > 1 ? await findRefused() : chat.asked[0]);
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
		else if (stream) stream.wake(true);
		reopen();
	}

	const lead = () => {
		leading = true;
		askedAt = 0;
		tell('leader');
		reopen();
	};
	const hold = () => new Promise((resolve) => {
		release = () => resolve(0);
		if (signal.aborted) release();
		else lead();
	});
	function queue(options) {
		navigator.locks.request(key, options, hold).catch(() => {
			if (signal.aborted) return;
			leading = false; // Another tab found this one frozen and took the lock.
			drop();
			queue({ signal });
			ask();
		});
	}
	function ask() {
		synced = false;
		askedAt ||= Date.now();
		send('ask', { known: knownOf(chat) });
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
		if (kind === 'relay' && synced) apply(what);
		if (kind !== 'snapshot' || to !== self) return;
		synced = true;
		askedAt = 0;
		adopt(snapshot);
	}

	if (channel) {
		channel.addEventListener('message', ({ data }) => signal.aborted || listen(data));
		tell('hello');
		queue({ signal });
		ask();
	} else {
		queueMicrotask(lead);
	}
	return {
		/** The tab shows another room, is seen or hidden, or the rooms that are followed changed. */
		moved() {
			tell('here');
			reopen();
		},
		retry: (room) => (leading ? retry(room) : send('retry', { room })),
		isAlone: () => !others.size,
		/** Of several tabs one notifies, and only where no tab has the room in sight. */
		notifies: (room) => leading && ![...others.values()].some((other) => other.visible && other.room === room),
		/** Phones freeze hidden tabs, the lock in their hands: a tab that is looked at takes it from them. */
		tick() {
			stream?.tick();
			if (leading || !channel || document.hidden) return;
			if (!askedAt && Date.now() - heardAt > silenceMillis(chat)) ask();
			if (!askedAt || Date.now() - askedAt < LEADER_MILLIS) return;
			askedAt = 0;
			queue({ steal: true });
		},
		wake(anyway) {
			stream?.wake(anyway);
			if (!leading && channel) ask();
		},
		goodbye: () => send('bye'),
		close() {
			send('bye');
			abort.abort();
			release();
			drop();
			channel?.close();
		},
	};
}
