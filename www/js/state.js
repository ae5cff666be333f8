// What the page knows of its rooms. Only the functions here change it, the views read it.

import { mentions, sameName } from './text.js';

/**
 * A message, or a gap between messages.
 * @typedef {{ eventId: string, sentAt: number, name: string, author: string | null, member: boolean, text: string,
 *   gap?: boolean, reason?: string, removed?: boolean, changed?: boolean }} Entry
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

/** What all tabs under one name share. `readOf` gives the position up to which a room was read before. */
export function newChat(name = '', readOf = (_) => '') {
	return {
		name, readOf, open: '', heartbeatSeconds: 15,
		position: '', // The last event id, in all rooms: where a stream resumes.
		/** @type {string[]} */ asked: [], // Rooms of the present stream,
		/** @type {Set<string>} */ settled: new Set(), // and those whose history up to `position` has come.
		/** @type {any} */ connection: { phase: 'connecting' },
		/** @type {Map<string, any>} */ refused: new Map(), // Rooms left out of the stream, and why.
		/** @type {Set<string>} */ authors: new Set(), // One's own: a server that keeps no data gives a new one at each start.
		/** @type {Map<string, any>} */ rooms: new Map(),
		/** @type {any[]} */ pending: [],
	};
}

export function newRoom(room, read = '') {
	return {
		room, greeted: false, backlogUntil: 0,
		/** @type {Entry[]} */ entries: [],
		/** @type {Set<string>} */ ids: new Set(), // Of the entries: what is here already is not added again.
		/** @type {Set<string>} */ removed: new Set(), // A history asked for earlier may still bring the text.
		/** @type {Map<string, string>} */ authors: new Map(), // Of each name, the last one.
		oldestReached: false, view: { from: 0, to: 0, following: true },
		/** @type {any} */ anchor: null, // Where the reader is, unless at the newest.
		/** @type {Map<string, string>} */ members: new Map(), memberCount: 0, listenerCount: 0,
		known: Boolean(read), read, marker: read, // Was it read before, up to where, and where did reading stop last time?
		attended: false, seeking: Boolean(read), // In sight of the reader, who has still to be shown the marker.
		unread: 0, mentioned: 0, below: 0,
	};
}

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

export const isAfter = (id, other) => !other || compareIds(id, other) > 0;

export const lastOf = (state) => state.entries.findLast((entry) => !entry.gap) ?? { eventId: '', sentAt: 0 };

export const isOwn = (chat, { author }) => Boolean(author) && chat.authors.has(author);

export function renameIn(chat, name) {
	Object.assign(chat, { name, refused: new Map(), connection: { phase: 'connecting' } });
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

/** Rooms that are not in the new stream are dropped, since they will not be kept up to date. */
export function applyOpened(chat, rooms) {
	chat.asked = rooms;
	chat.settled = new Set(rooms.filter((room) => chat.settled.has(room)));
	for (const room of chat.rooms.keys()) if (!rooms.includes(room) && room !== chat.open) chat.rooms.delete(room);
}

/**
 * Gives the messages that were new; applying an event twice changes nothing more. An event without an `id` precedes `position`:
 * it belongs to the history of a room that joined the stream.
 */
export function applyEvent(chat, { event, id, data }, now = Date.now()) {
	setConnection(chat, { phase: event === 'server-closing' ? 'closing' : 'connected' });
	if (id) {
		chat.position = id;
		chat.settled = new Set(chat.asked);
	}
	if (!chat.asked.includes(data.room) && !chat.rooms.has(data.room)) return [];
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

/** `members` replaces the roster, then `left` goes and `joined` comes: in this order any repeat ends with the same names. */
export function applyRoster(state, { members, left = [], joined = [], memberCount, listenerCount }) {
	if (members) state.members = new Map();
	for (const name of left) state.members.delete(name.toLowerCase());
	for (const name of [...(members ?? []), ...joined]) state.members.set(name.toLowerCase(), name);
	Object.assign(state, { memberCount, listenerCount });
}

function addMessages(chat, state, messages, backlog) {
	const { eventId } = lastOf(state);
	const fresh = addEntries(state, messages).filter((entry) => !entry.gap);
	trimEntries(state, chat.open === state.room ? LIMITS.held : LIMITS.heldElsewhere);
	for (const entry of fresh) noteMessage(chat, state, entry, backlog, eventId);
	return backlog ? [] : fresh;
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

// ---- Entries

/** A reader who stays with the newest keeps seeing the end. */
export function addEntries(state, entries) {
	const fresh = entries.filter((entry) => !state.ids.has(entry.eventId));
	const { view } = state;
	for (const entry of fresh) {
		state.ids.add(entry.eventId);
		state.entries.push(entry);
		noteAuthor(state, entry);
	}
	if (!view.following) return fresh;
	view.to = state.entries.length;
	view.from = Math.max(view.from, view.to - LIMITS.rendered);
	return fresh;
}

/** The rendered part stays on the same messages. */
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
	entry.changed = state.authors.has(key) && state.authors.get(key) !== entry.author;
	if (entry.author) state.authors.set(key, entry.author);
}

const blank = (entry) => Object.assign(entry, { removed: true, text: '' });

function removeEntry(state, id) {
	state.removed.add(id);
	const entry = state.entries.find(({ eventId }) => eventId === id);
	if (entry) blank(entry);
}

/** Drops the oldest, but not what is rendered, unless a whole memory's worth went by below it. */
function trimEntries(state, held) {
	if (state.entries.length - state.view.to > LIMITS.held) followNewest(state);
	const excess = Math.min(state.entries.length - held, state.view.from);
	if (excess <= 0) return;
	for (const { eventId } of state.entries.splice(0, excess)) {
		state.ids.delete(eventId);
		state.removed.delete(eventId);
	}
	state.view.from -= excess;
	state.view.to -= excess;
	state.oldestReached = false;
}

/** Moves the rendered part up (negative) or down; it never has more than its limit. */
export function moveView({ view, entries }, rows) {
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
	Object.assign(state, { view: { from: Math.max(0, to - LIMITS.rendered), to, following: true }, below: 0, anchor: null });
}

export function setFollowing(state, following) {
	if (following) followNewest(state);
	state.view.following = following;
}

export function setAnchor(state, anchor) {
	state.anchor = anchor;
}

// ---- Reading

/** A room that was empty so far counts as read up to this position. */
export function startReading(state, position) {
	state.read ||= position;
}

export function markRead(state) {
	state.read = lastOf(state).eventId || state.read;
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
	if (state.attended) Object.assign(state, { attended: false, seeking: false, marker: state.read });
}

export function openIn(chat, room) {
	if (chat.open) leave(getRoom(chat, chat.open));
	chat.open = room;
	return getRoom(chat, room);
}

/** The marker has been shown. */
export function endSeeking(state) {
	state.seeking = false;
}

export function forgetMarker(state) {
	Object.assign(state, { marker: '', seeking: false });
}

// ---- Snapshots

const greeted = (chat) => [...chat.rooms.values()].filter((state) => state.greeted);

/** The last message of each room that this tab has: all later ones it lacks. */
export const knownOf = (chat) => Object.fromEntries(greeted(chat).map((state) => [state.room, lastOf(state).eventId]));

export function snapshotOf(chat, known) {
	const { position, asked, settled, connection, heartbeatSeconds, authors, refused } = chat;
	const rooms = greeted(chat).map(({ room, entries, removed, members, memberCount, listenerCount }) => {
		const lacking = entries.slice(entries.findIndex((entry) => entry.eventId === known[room]) + 1);
		return { room, entries: lacking, removed, rest: { members, memberCount, listenerCount } };
	});
	return { rest: { position, asked, settled, connection, heartbeatSeconds, authors, refused }, rooms };
}

/** Gives the messages that are news. */
export function adoptSnapshot(chat, { rest, rooms }) {
	Object.assign(chat, rest, { position: rest.position || chat.position });
	applyOpened(chat, rest.asked);
	return rooms.flatMap(({ room, entries, removed, rest }) => {
		const state = getRoom(chat, room);
		const backlog = !state.greeted;
		for (const id of removed) removeEntry(state, id);
		Object.assign(state, rest, { greeted: true });
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
	/** @type {any} */
	let before = null;
	let day = '';
	// Where reading stopped above what is rendered or held, there is no line to draw.
	const first = entries[view.from - 1] ?? (state.oldestReached ? undefined : entries[0]);
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
		} else if (rows.at(-1)?.kind === 'removed') rows.at(-1).n += 1;
		else line('removed', entry);
	}
	return rows;
}

function messageRow(chat, entry, before) {
	const same = before && before.name === entry.name && before.author === entry.author && before.member === entry.member;
	const head = !same || entry.sentAt - before.sentAt > LIMITS.groupMillis;
	const own = isOwn(chat, entry);
	const mention = !own && !sameName(entry.name, chat.name) && mentions(entry.text, chat.name);
	const timed = head || minuteOf(entry) !== minuteOf(before);
	return { kind: 'message', key: [entry.eventId, head, own, mention, timed, entry.changed].join(' '), entry, head, own, mention, timed };
}
