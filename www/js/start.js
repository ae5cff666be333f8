// What runs first: it opens one stream for all tabs under one name, while the views still load.

import { applyOpened, isAfter, knownOf, LIMITS, newChat, openIn, snapshotOf } from './state.js';
import { askStatus, openStream, randomKey, roomPath, silenceMillis } from './network.js';
import { isRoomName, roomOfFragment } from './text.js';
import { openStorage } from './browser.js';

const LEADER_MILLIS = 5000; // A leading tab that does not answer by then is frozen.

const ROOM_PROBLEMS = ['name-taken', 'bad-room', 'room-not-offered', 'too-many-rooms'];

export const prefix = `chatroom ${location.pathname} `; // This host may have other chats under other paths.
export const local = openStorage('localStorage', prefix);
export const tab = openStorage('sessionStorage', prefix);

// By room: up to where it was read, and the name under which it is followed.
export const follows = () => local.get('followed') ?? {};
export const followed = () => Object.keys(follows()).filter((room) => follows()[room].name === chat.name);

export const chat = newChat(tab.get('name') || local.get('name') || '', (room) => follows()[room]?.read ?? '');

/** What is told before `main` has loaded. */
export const waiting = [];
export const handlers = {
	apply(what) {
		if (what.opened) applyOpened(chat, what.opened);
		waiting.push(what);
	},
};

export const roomHere = () => roomOfFragment(location.hash) || 'lobby';

/** @type {ReturnType<typeof openFeed>} */
export let feed;

export function joinAs(name) {
	Object.assign(chat, { name, refused: new Map(), connection: { phase: 'connecting' } });
	feed?.close();
	feed = openFeed(prefix + name);
}

export function setFollowed(room, entry) {
	const rooms = follows();
	if (entry) rooms[room] = entry;
	else delete rooms[room];
	local.set('followed', rooms);
	feed.moved();
}

/** Other tabs keep their name, and its rooms. */
export function moveFollowed(names, name) {
	const rooms = follows();
	if (feed.isAlone()) for (const each of Object.values(rooms)) if (names.includes(each.name)) each.name = name;
	local.set('followed', rooms);
}

export function saveReads() {
	const rooms = follows();
	const stale = [...chat.rooms.values()].filter(({ room, read }) => read && rooms[room] && isAfter(read, rooms[room].read));
	for (const { room, read } of stale) rooms[room].read = read;
	if (stale.length) local.set('followed', rooms);
}

/**
 * The tab that holds the lock leads: it has the stream and relays its events. The others ask it for what they lack. When it goes,
 * the next leader resumes from its own position.
 */
function openFeed(key) {
	const self = randomKey();
	const others = new Map(); // What other tabs show.
	const channel = navigator.locks && globalThis.BroadcastChannel ? new BroadcastChannel(key) : null;
	const abort = new AbortController();
	const { signal } = abort;
	/** @type {any} */
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
		handlers.apply(what);
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

	/** A room that is refused is left out, so that the others are heard. */
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
			leading = false; // The lock was stolen: see `tick`.
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
		if (kind === 'relay' && synced) handlers.apply(what);
		if (kind !== 'snapshot' || to !== self) return;
		synced = true;
		askedAt = 0;
		handlers.apply({ snapshot });
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
		moved() {
			tell('here');
			reopen();
		},
		retry: (room) => (leading ? retry(room) : send('retry', { room })),
		isAlone: () => !others.size,
		/** One tab notifies, if none has the room in sight. */
		notifies: (room) => leading && ![...others.values()].some((other) => other.visible && other.room === room),
		/** A hidden tab may be frozen while it holds the lock: a visible one steals it. */
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

openIn(chat, roomHere());
joinAs(chat.name);
