// What the page knows of its rooms. The functions here are the only ones that change it, the views read it.

import { mentions, sameName } from './text.js';

/**
 * @typedef {{ eventId: string, sentAt: number, name: string, author: string | null, member: boolean, text: string,
 *   gap?: boolean, reason?: string, removed?: boolean, changed?: boolean }} Entry A message, or a gap between messages.
 * @typedef {ReturnType<typeof newChat>} Chat
 * @typedef {ReturnType<typeof newRoom>} Room
 */

export const LIMITS = {
	held: 5000, // Messages of the room that is shown kept in memory: 5 MB at 1 KB each.
	heldElsewhere: 500, // The same for each of the other rooms.
	rendered: 300, // Rows in the document: many screens, yet cheap to lay out.
	page: 100, // Rows by which the rendered part moves, and messages fetched at once.
	rooms: 32, // In one stream, as the server has it.
	groupMillis: 300_000, // A person's messages closer than this share one heading.
	backlogMillis: 1000, // What comes that soon after a room was joined is its history.
};

/** Everything that the tabs under one name share. `readOf` gives the position up to which a room was read before. */
export function newChat(name = '', readOf = (_) => '') {
	return {
		name, readOf, open: '', heartbeatSeconds: 15,
		position: '', // The last event id, for all rooms: where a stream resumes.
		/** @type {string[]} */ asked: [], // Rooms of the present stream,
		/** @type {Set<string>} */ settled: new Set(), // and those of them whose history up to `position` has come.
		/** @type {{ phase: string, until?: number, problem?: any }} */ connection: { phase: 'connecting' },
		/** @type {Map<string, any>} */ refused: new Map(), // Rooms left out of the stream, and why.
		/** @type {Set<string>} */ authors: new Set(), // One's own: a server that keeps no data gives a new one at each start.
		/** @type {Map<string, any>} */ rooms: new Map(),
		/** @type {import('./outbox.js').Pending[]} */ pending: [],
	};
}

export function newRoom(room, read = '') {
	return {
		room, greeted: false, backlogUntil: 0,
		/** @type {Entry[]} */ entries: [], // In the order of the stream, older ones put before them.
		/** @type {Set<string>} */ ids: new Set(), // Of the entries: what is here already is not added again.
		/** @type {Set<string>} */ removed: new Set(), // Ids: a history asked for earlier may still bring the text.
		/** @type {Map<string, string>} */ authors: new Map(), // Of each name, the last one.
		oldestReached: false, view: { from: 0, to: 0, following: true },
		/** @type {{ id: string, offset: number } | null} */ anchor: null, // Where the reader is, unless at the newest.
		/** @type {Map<string, string>} */ members: new Map(), memberCount: 0, listenerCount: 0,
		known: Boolean(read), read, marker: read, // Whether it was read before, the position up to which it was read, and the one at which reading stopped last time.
		attended: false, seeking: Boolean(read), // In sight of the reader, who has still to be shown the marker.
		unread: 0, mentioned: 0, below: 0,
	};
}

/** @returns {Room} */
export function getRoom(chat, room) {
	if (!chat.rooms.has(room)) chat.rooms.set(room, newRoom(room, chat.readOf(room)));
	return chat.rooms.get(room);
}

/** Compares event ids `<milliseconds>-<sequence>` as pairs of numbers. */
export function compareIds(a, b) {
	const [aMillis, aSequence] = a.split('-').map(Number);
	const [bMillis, bSequence] = b.split('-').map(Number);
	return aMillis - bMillis || aSequence - bSequence;
}

const isAfter = (id, other) => !other || compareIds(id, other) > 0;

export const lastIdOf = (state) => state.entries.findLast((entry) => !entry.gap)?.eventId ?? '';

export const lastAtOf = (state) => state.entries.findLast((entry) => !entry.gap)?.sentAt ?? 0;

export const isOwn = (chat, { author }) => Boolean(author) && chat.authors.has(author);

// ---- Changes that are not events

/** Shows another room. */
export function openIn(chat, room) {
	chat.open = room;
	return getRoom(chat, room);
}

/** Takes part under another name; what is known of the rooms stays. */
export function renameIn(chat, name) {
	chat.name = name;
	chat.refused = new Map();
	chat.connection = { phase: 'connecting' };
}

export function setConnection(chat, connection) {
	chat.connection = connection;
}

/** Leaves a room out of the stream for a problem, or without one takes it in again. */
export function setRefused(chat, room, problem) {
	if (problem) chat.refused.set(room, problem);
	else chat.refused.delete(room);
}

// ---- Events

/** A stream of these rooms was opened: what is known of others is dropped, since they will not be kept up to date. */
export function applyOpened(chat, rooms) {
	chat.asked = rooms;
	chat.settled = new Set(rooms.filter((room) => chat.settled.has(room)));
	for (const room of chat.rooms.keys()) if (!rooms.includes(room) && room !== chat.open) chat.rooms.delete(room);
}

/**
 * Applies one event of the stream; gives the messages that were new. Applying it twice changes nothing more.
 * An event without an `id` precedes `position`: it belongs to the history of a room that joined the stream.
 */
export function applyEvent(chat, { event, id, data }, now = Date.now()) {
	chat.connection = { phase: event === 'server-closing' ? 'closing' : 'connected' };
	if (id) {
		chat.position = id;
		chat.settled = new Set(chat.asked);
	}
	if (!data.room || !(chat.asked.includes(data.room) || chat.rooms.has(data.room))) return [];
	const state = getRoom(chat, data.room);
	switch (event) {
		case 'chat-room-connected':
			if (!state.greeted) state.backlogUntil = now + LIMITS.backlogMillis;
			state.greeted = true;
			chat.heartbeatSeconds = data.heartbeatSeconds;
			if (data.author) chat.authors.add(data.author);
			applyRoster(state, data);
			break;
		case 'members-changed':
			applyRoster(state, data);
			break;
		case 'messages-missed':
			if (data.reason === 'unknown') state.authors.clear();
			addEntries(state, [{ eventId: `gap ${data.after} ${data.oldest} ${id}`, gap: true, reason: data.reason }]);
			break;
		case 'message-removed':
			removeEntry(state, data.removed);
			break;
		case 'new-message':
			return addMessages(chat, state, [data], now < state.backlogUntil);
	}
	return [];
}

/** Adds messages at the end and notes what that means to the reader; gives those that are news. */
export function addMessages(chat, state, messages, backlog) {
	const last = lastIdOf(state);
	const fresh = addEntries(state, messages);
	trimEntries(state, chat.open === state.room ? LIMITS.held : LIMITS.heldElsewhere);
	for (const entry of fresh) if (!entry.gap) noteMessage(chat, state, entry, backlog, last);
	return backlog ? [] : fresh.filter((entry) => !entry.gap);
}

function noteMessage(chat, state, entry, backlog, last) {
	const reading = state.attended && state.view.following && !state.seeking;
	// With everything read and the reader present, nothing is "new since you left".
	if (!backlog && reading && !(state.marker && last && isAfter(last, state.marker))) state.marker = '';
	if (isOwn(chat, entry) || (backlog && !state.known)) {
		if (!state.unread) state.read = entry.eventId;
		return;
	}
	if (!state.view.following) state.below += 1;
	if (!isAfter(entry.eventId, state.read)) return;
	if (reading) state.read = entry.eventId;
	else countUnread(chat, state, entry);
}

function countUnread(chat, state, entry) {
	state.unread += 1;
	if (mentions(entry.text, chat.name)) state.mentioned += 1;
}

/** `members` replaces the roster, then `left` goes and `joined` comes: in this order any repeat ends with the same names. */
export function applyRoster(state, { members, left = [], joined = [], memberCount, listenerCount }) {
	if (members) state.members = new Map();
	for (const name of left) state.members.delete(name.toLowerCase());
	for (const name of [...(members ?? []), ...joined]) state.members.set(name.toLowerCase(), name);
	Object.assign(state, { memberCount, listenerCount });
}

// ---- Entries

/** Appends what is not here yet. A reader who stays with the newest keeps seeing the end. */
export function addEntries(state, entries) {
	const fresh = entries.filter((entry) => !state.ids.has(entry.eventId));
	const { view } = state;
	for (const entry of fresh) {
		state.ids.add(entry.eventId);
		state.entries.push(entry);
		noteAuthor(state, entry);
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
	state.authors.clear();
	for (const entry of state.entries) noteAuthor(state, entry);
	if (state.view.following) followNewest(state);
	else moveView(state, -LIMITS.page);
}

// Two people may use one name one after the other. A message without an author says so by itself ("via API").
function noteAuthor(state, entry) {
	if (entry.gap) return;
	if (state.removed.has(entry.eventId)) blank(entry);
	const key = entry.name.toLowerCase();
	const known = state.authors.get(key);
	entry.changed = known !== undefined && known !== entry.author;
	if (entry.author) state.authors.set(key, entry.author);
}

const blank = (entry) => Object.assign(entry, { removed: true, text: '' });

/** A removed message keeps its place, without its text. */
export function removeEntry(state, id) {
	state.removed.add(id);
	const entry = state.entries.find(({ eventId }) => eventId === id);
	if (entry) blank(entry);
}

/** Drops the oldest, but not what is rendered, unless a whole memory's worth went by below it. */
export function trimEntries(state, held = LIMITS.held) {
	if (state.entries.length - state.view.to > LIMITS.held) followNewest(state);
	const excess = Math.min(state.entries.length - held, state.view.from);
	if (excess <= 0) return;
	for (const entry of state.entries.splice(0, excess)) {
		state.ids.delete(entry.eventId);
		state.removed.delete(entry.eventId);
	}
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
	state.view = { from: Math.max(0, to - LIMITS.rendered), to, following: true };
	state.below = 0;
	state.anchor = null;
}

/** The reader moved away from the newest messages, or back to them. */
export function setFollowing(state, following) {
	if (following) followNewest(state);
	state.view.following = following;
}

export function setAnchor(state, anchor) {
	state.anchor = anchor;
}

// ---- Reading

/** A room that was empty so far is read up to this position. */
export function startReading(state, position) {
	state.read ||= position;
}

/** The reader looks at the newest messages: all is read. */
export function markRead(state) {
	state.read = lastIdOf(state) || state.read;
	state.unread = state.mentioned = 0;
}

/** Another tab has read this far. */
export function readUpTo(chat, state, position) {
	if (!position || !isAfter(position, state.read)) return;
	state.read = position;
	state.unread = state.mentioned = 0;
	for (const entry of state.entries) {
		if (!entry.gap && !entry.removed && !isOwn(chat, entry) && isAfter(entry.eventId, position)) countUnread(chat, state, entry);
	}
}

/** The reader comes to the room, or back to the tab. */
export function arrive(state) {
	if (state.attended) return;
	state.attended = true;
	if (state.unread) state.seeking = state.view.following;
	else if (state.greeted) state.marker = '';
}

/** The reader goes: here reading will go on. */
export function leave(state) {
	if (!state.attended) return;
	state.attended = false;
	state.seeking = false;
	state.marker = state.read;
}

/** The marker has been shown, or is no longer wanted. */
export function endSeeking(state) {
	state.seeking = false;
}

export function forgetMarker(state) {
	state.marker = '';
	state.seeking = false;
}

// ---- Snapshots

/** The last message of each room that this tab has: all later ones it lacks. */
export const knownOf = (chat) => Object.fromEntries([...chat.rooms.values()].filter(({ greeted }) => greeted).map((state) => [state.room, lastIdOf(state)]));

/** What another tab needs: all, or in each room all after the message that it has. */
export function snapshotOf(chat, known) {
	const { position, asked, settled, connection, heartbeatSeconds, authors, refused } = chat;
	const rooms = [...chat.rooms.values()].filter(({ greeted }) => greeted).map((state) => {
		const { room, entries, removed, members, memberCount, listenerCount } = state;
		const at = entries.findIndex((entry) => entry.eventId === known[room]);
		return { room, entries: entries.slice(at + 1), removed, members, memberCount, listenerCount };
	});
	return { rest: { position, asked, settled, connection, heartbeatSeconds, authors, refused }, rooms };
}

/** Takes over what a snapshot has; gives the messages that are news. */
export function adoptSnapshot(chat, { rest, rooms }) {
	Object.assign(chat, rest, { position: rest.position || chat.position });
	applyOpened(chat, rest.asked);
	chat.settled = rest.settled;
	return rooms.flatMap(({ room, entries, removed, members, memberCount, listenerCount }) => {
		const state = getRoom(chat, room);
		const backlog = !state.greeted;
		state.greeted = true;
		for (const id of removed) removeEntry(state, id);
		Object.assign(state, { members, memberCount, listenerCount });
		return addMessages(chat, state, entries, backlog);
	});
}

// ---- Rows

const minuteOf = ({ sentAt }) => Math.floor(sentAt / 60_000);

/** The rows to show: messages with or without a heading, and lines for what lies between them. */
export function rowsOf(chat, state) {
	const { entries, view, marker } = state;
	const rows = [];
	const line = (kind, entry) => rows.push({ kind, key: `${kind} ${entry.eventId}`, entry, n: 1 });
	const above = entries[view.from - 1];
	/** @type {any} */
	let before = null;
	let day = '';
	// Where reading stopped further up, out of what is held or rendered, there is no line to draw here.
	const first = above ?? (state.oldestReached ? undefined : entries[0]);
	let marked = !marker || Boolean(first && !first.gap && isAfter(first.eventId, marker));
	for (const entry of entries.slice(view.from, view.to)) {
		if (!entry.gap && !marked && isAfter(entry.eventId, marker)) {
			line('new', entry);
			marked = true;
			before = null;
		}
		const today = entry.gap ? day : new Date(entry.sentAt).toDateString();
		if (today !== day) line('day', entry);
		if (today !== day || entry.gap || entry.removed) before = null;
		day = today;
		if (entry.gap) line('gap', entry);
		else if (!entry.removed) {
			rows.push(messageRow(chat, entry, before));
			before = entry;
		} else if (rows.at(-1)?.kind === 'removed') {
			rows.at(-1).n += 1;
		} else line('removed', entry);
	}
	return rows;
}

function messageRow(chat, entry, before) {
	const same = before && before.name === entry.name && before.author === entry.author && before.member === entry.member;
	const head = !same || entry.sentAt - before.sentAt > LIMITS.groupMillis;
	const own = isOwn(chat, entry);
	const mention = !own && !sameName(entry.name, chat.name) && mentions(entry.text, chat.name);
	const timed = head || minuteOf(entry) !== minuteOf(before);
	return { kind: 'message', key: `${entry.eventId} ${head} ${own} ${mention} ${timed} ${entry.changed}`, entry, head, own, mention, timed };
}
