// What is known of the rooms, and all that changes it. Their types tell what it means.

import { mentions, sameName } from './text.js';

/** @type {Limits} */
export const LIMITS = { held: 5000, heldElsewhere: 500, rendered: 300, page: 100, rooms: 32, groupMillis: 300_000, history: 50 };

/** @returns {Chat} */
export const newChat = (name = '', readOf = (_) => '') => ({
	name, readOf, open: '', position: '', heartbeatSeconds: 15, connection: { phase: 'connecting' },
	asked: [], joined: new Set(), past: true, refused: new Map(), authors: new Set(), rooms: new Map(), pending: [],
});

/** @returns {RoomState} */
export const newRoom = (room, read = '') => ({
	room, settled: false, begin: '',
	entries: [], ids: new Set(), removed: new Set(), authors: new Map(), oldestReached: false,
	view: { from: 0, to: 0, following: true }, anchor: null,
	members: new Map(), memberCount: 0, listenerCount: 0,
	read, marker: read, attended: false, seeking: false,
});

/** @returns {RoomState} */
export function getRoom({ rooms, readOf }, room) {
	if (!rooms.has(room)) rooms.set(room, newRoom(room, readOf(room)));
	return rooms.get(room);
}

// Event ids are `<milliseconds>-<sequence>`.
export const compareIds = new Intl.Collator('en', { numeric: true }).compare;

export const isAfter = (id, other) => !other || compareIds(id, other) > 0;

export const lastOf = (state) => state.entries.findLast((entry) => !entry.gap) ?? { eventId: '' };

export const isOwn = (chat, { author }) => chat.authors.has(author);

// ---- The connection

export const rename = (chat, name) => Object.assign(chat, { name, refused: new Map(), connection: { phase: 'connecting' } });

export const setConnection = (chat, connection) => Object.assign(chat, { connection });

export const setRefused = ({ refused }, room, problem) => (problem ? refused.set(room, problem) : refused.delete(room));

// ---- Events

/** What rooms that are added said before is not told by a stream with a position. */
export function applyOpened(chat, asked) {
	for (const room of asked) {
		if (chat.asked.includes(room)) continue;
		const { read, attended, entries } = getRoom(chat, room);
		if (entries.length) chat.rooms.set(room, Object.assign(newRoom(room, read), { attended }));
		getRoom(chat, room).begin = chat.position;
	}
	chat.asked = asked;
	for (const room of chat.rooms.keys()) if (!asked.includes(room) && room !== chat.open) chat.rooms.delete(room);
}

/** What the next stream begins with is the past. */
export function applyClosed(chat) {
	chat.joined.clear();
	chat.past = true;
}

/** Returns the new messages. */
export function applyEvent(chat, { event, id, data }) {
	chat.connection = { phase: event === 'server-closing' ? 'closing' : 'connected' };
	if (id) chat.position = id;
	if (event === 'caught-up') settle(chat);
	const { room, author, removed, eventId } = data;
	if (!chat.asked.includes(room) && !chat.rooms.has(room)) return [];
	const state = getRoom(chat, room);
	if (event === 'new-message') return addMessages(chat, state, [data]);
	if (event === 'chat-room-connected') {
		chat.joined.add(room);
		// Another device may have said anything.
		if (isAfter(state.read, eventId)) state.read = eventId;
		chat.heartbeatSeconds = data.heartbeatSeconds;
		// With a new secret the server gives new authors to all.
		if (author && !chat.authors.has(author)) for (const { authors } of chat.rooms.values()) authors.clear();
		if (author) chat.authors.add(author);
	}
	if (data.memberCount !== undefined) applyRoster(state, data);
	if (removed) removeEntry(state, removed);
	if (event === 'messages-missed' && state.settled) addEntries(state, [{ eventId: `gap ${eventId}`, gap: true }]);
	return [];
}

/** What a room said before it was first opened counts as read. */
function settle(chat) {
	chat.past = false;
	for (const room of chat.joined) {
		const state = getRoom(chat, room);
		state.settled = true;
		if (!state.read) readUpTo(state, chat.position);
		if (state.attended && !isAfter(lastOf(state).eventId, state.marker)) state.marker = '';
	}
}

/** Whether all is here that came before now. */
export const isWhole = (chat, { settled, begin }) => settled && !begin && !chat.past;

// In this order a repeated event changes nothing.
export function applyRoster(state, { members, left = [], joined = [], memberCount, listenerCount }) {
	if (members) state.members.clear();
	for (const name of left) state.members.delete(name.toLowerCase());
	for (const name of [...(members ?? []), ...joined]) state.members.set(name.toLowerCase(), name);
	Object.assign(state, { memberCount, listenerCount });
}

function addMessages(chat, state, messages) {
	const { eventId: last } = lastOf(state);
	let allRead = state.read && !unreadOf(chat, state).length;
	const fresh = addEntries(state, messages).filter((entry) => !entry.gap);
	trimEntries(state, chat.open === state.room ? LIMITS.held : LIMITS.heldElsewhere);
	for (const entry of fresh) {
		const reading = isReading(state);
		if (!chat.past && reading && !(state.marker && last && isAfter(last, state.marker))) state.marker = '';
		if (!reading && !isOwn(chat, entry) && isAfter(entry.eventId, state.read)) {
			// Who has scrolled up comes back to a line above it.
			if (allRead && state.attended) state.marker = state.read;
			allRead = false;
		}
		if (allRead || reading) readUpTo(state, entry.eventId);
	}
	return chat.past ? [] : fresh;
}

// ---- Entries

function addEntries(state, entries) {
	const fresh = takeFresh(state, entries);
	state.entries.push(...fresh);
	for (const entry of fresh) noteAuthor(state, entry);
	if (state.view.following) moveView(state, fresh.length);
	return fresh;
}

const takeFresh = ({ ids }, entries) => entries.filter(({ eventId }) => !ids.has(eventId) && ids.add(eventId));

export function addOlder(state, messages, asked) {
	const fresh = takeFresh(state, messages);
	state.entries.unshift(...fresh);
	state.view.from += fresh.length;
	state.view.to += fresh.length;
	Object.assign(state, { begin: '', oldestReached: messages.length < asked });
	state.authors.clear();
	for (const entry of state.entries) noteAuthor(state, entry);
	if (state.view.following) followNewest(state);
	else moveView(state, -LIMITS.page);
}

// Two people may use one name, one after the other.
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
	for (const entry of state.entries) if (entry.eventId === id) blank(entry);
}

/** Drops the oldest, but what is rendered only when too many came below it. */
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
	Object.assign(state, { view: { from: Math.max(0, to - LIMITS.rendered), to, following: true }, anchor: null });
}

export function setFollowing(state, following) {
	if (following) followNewest(state);
	state.view.following = following;
}

export const setAnchor = (state, anchor) => Object.assign(state, { anchor });

// ---- Reading

export const isReading = ({ attended, view, seeking }) => attended && view.following && !seeking;

export const readUpTo = (state, position) => {
	if (isAfter(position, state.read)) state.read = position;
};

/** Asked for at each draw, so it is counted anew only when something has changed. */
export function unreadOf(chat, state) {
	const { entries, removed, read } = state;
	const basis = [chat.name, chat.authors.size, read, entries.length, lastOf(state).eventId, removed.size].join();
	if (state.unread?.basis === basis) return state.unread.found;
	const readTo = entries.findLastIndex((entry) => !entry.gap && !isAfter(entry.eventId, read));
	// A room without a position of reading was never opened.
	const found = read ? entries.slice(readTo + 1).filter((entry) => !entry.gap && !entry.removed && !isOwn(chat, entry)) : [];
	state.unread = { basis, found };
	return found;
}

export function isMention(chat, entry) {
	if (entry.readBy !== chat.name) Object.assign(entry, { readBy: chat.name, mention: mentions(entry.text, chat.name) });
	return entry.mention && !isOwn(chat, entry) && !sameName(entry.name, chat.name);
}

export const endSeeking = (state) => Object.assign(state, { seeking: false });

export function answer(state) {
	followNewest(state);
	Object.assign(state, { marker: '', seeking: false });
}

export function arrive(chat, state) {
	if (state.attended) return;
	state.attended = true;
	if (!seekUnread(chat, state) && !chat.past) state.marker = '';
}

/** Who would follow the newest is first shown where the unread begin. */
export function seekUnread(chat, state) {
	const [first] = unreadOf(chat, state);
	state.seeking = state.view.following && Boolean(first || chat.past);
	const rows = state.entries.indexOf(first) - state.view.from;
	if (first && state.seeking && rows < 0) moveView(state, rows - LIMITS.page);
	return first;
}

export function leave(state) {
	if (state.attended) Object.assign(state, { attended: false, seeking: false, marker: state.read });
}

export function openIn(chat, room) {
	if (chat.open) leave(getRoom(chat, chat.open));
	chat.open = room;
	return getRoom(chat, room);
}

// ---- Rows

export function rowsOf(chat, state) {
	const { entries, view, marker } = state;
	const rows = [];
	const line = (kind, entry) => rows.push({ kind, key: `${kind} ${entry.eventId}`, entry, n: 1 });
	// The message above in the same block.
	let before;
	let day = '';
	// Where reading stopped may be above what is rendered.
	const first = entries[view.from - 1];
	let marked = !marker || Boolean(first && !first.gap && isAfter(first.eventId, marker));
	for (const entry of entries.slice(view.from, view.to)) {
		const today = entry.gap ? day : new Date(entry.sentAt).toDateString();
		const isNew = !entry.gap && !marked && isAfter(entry.eventId, marker);
		if (today !== day) line('day', entry);
		if (isNew) line('new', entry);
		if (today !== day || isNew || entry.gap || entry.removed) before = undefined;
		marked ||= isNew;
		day = today;
		if (entry.gap) line('gap', entry);
		else if (!entry.removed) {
			rows.push(messageRow(chat, entry, before));
			before = entry;
		} else if (rows.at(-1)?.kind === 'removed' && rows.at(-1).entry.author === entry.author) rows.at(-1).n += 1;
		else line('removed', entry);
	}
	return rows;
}

function messageRow(chat, entry, before) {
	const same = before && ['name', 'author', 'member'].every((key) => before[key] === entry[key]);
	const head = !same || entry.sentAt - before.sentAt > LIMITS.groupMillis;
	const own = isOwn(chat, entry);
	const mention = isMention(chat, entry);
	const [minute, last] = [entry, before ?? entry].map(({ sentAt }) => Math.floor(sentAt / 60_000));
	const timed = head || minute > last;
	return { kind: 'message', key: [entry.eventId, head, own, mention, timed, entry.changed].join(' '), entry, head, own, mention, timed };
}

/** What is on its way stands as it will when it has come. */
export function pendingRowsOf(chat, state) {
	const last = state.entries.at(-1);
	const sameDay = last && new Date(last.sentAt).toDateString() === new Date().toDateString();
	let before = sameDay && !last.removed ? last : undefined;
	return chat.pending.filter(({ room, seenAs }) => room === state.room && !seenAs).map((item) => {
		const { key: eventId, name, text, at: sentAt } = item;
		const entry = { eventId, name, author: [...chat.authors].at(-1), member: true, text, sentAt };
		const row = { ...messageRow(chat, entry, before), own: true, item };
		before = entry;
		return row;
	});
}
