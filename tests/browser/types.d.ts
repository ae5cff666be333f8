// The types that the scripts of the page name in their annotations. They are checked, and not served.

/** A message, or a gap between messages. */
interface Entry {
  eventId: string, sentAt: number, name: string, author: string | null, member: boolean, text: string,
  gap?: boolean, removed?: boolean,
  /** Whether somebody else had the name before. */
  changed?: boolean,
  /** Whether a long text is shown in whole. */
  unfolded?: boolean,
  /** Whether it mentions whoever reads it under this name. */
  readBy?: string, mention?: boolean,
}

/** Why the server refused something. */
interface Problem { status?: number, code?: string, message?: string, room?: string, name?: string, until?: number }

/** What an answer of the server means: done, worth trying again, or waiting until a person does something. */
interface Answer extends Problem { kind: 'done' | 'later' | 'failed', millis?: number, eventId?: string, body?: any }

/** How much is kept and shown. */
interface Limits {
  /** Messages held of the room that is shown, 5 MB at 1 KB each, and of each other room. */
  held: number, heldElsewhere: number,
  /** Rows in the document: cheap to lay out. */
  rendered: number,
  /** Messages fetched at once, and rows by which the rendered part moves. */
  page: number,
  /** In one stream, as the server has it. */
  rooms: number,
  /** Messages closer than this share a heading. */
  groupMillis: number,
  /** Messages that a room begins with at most. */
  history: number,
}

/** What is known of a room. */
interface RoomState {
  room: string, entries: Entry[], oldestReached: boolean,
  /** Whether the stream has caught up with it since it was opened; and where the stream began with it, until what was before has come. */
  settled: boolean, begin: string,
  /** Of the entries: what is here already is not added again. */
  ids: Set<string>,
  /** Of messages that were removed: a history asked for earlier may still bring their text. */
  removed: Set<string>,
  /** Of each name, the last author. */
  authors: Map<string, string>,
  /** The part of the entries that is rendered, and where the reader is in it unless at the newest. */
  view: { from: number, to: number, following: boolean }, anchor: { id: string, offset: number } | null,
  members: Map<string, string>, memberCount: number, listenerCount: number,
  /** Up to where it was read, and where reading stopped last time. */
  read: string, marker: string,
  /** Whether the reader is there, and whether the marker has still to be shown. */
  attended: boolean, seeking: boolean,
  /** What is unread, as of what it was counted from. */
  unread?: { basis: string, found: Entry[] },
}

/** A message on its way. */
interface Pending {
  key: string, room: string, name: string, text: string, status: 'queued' | 'sending' | 'stored' | 'failed',
  tries: number, retryAt: number, at: number, error?: Problem, eventId?: string,
  /** The id under which the stream told of it before its answer came. */
  seenAs?: string,
}

interface Connection {
  phase: 'connecting' | 'connected' | 'waiting' | 'closing' | 'offline' | 'refused', until?: number, problem?: Problem,
}

/** What is known of the chat. */
interface Chat {
  name: string, open: string, heartbeatSeconds: number, connection: Connection,
  /** Up to where a room was read before. */
  readOf: (room: string) => string,
  /** The last event id, in all rooms: where a stream resumes. */
  position: string,
  /** The rooms that a stream is opened for, and those that have joined it. */
  asked: string[], joined: Set<string>,
  /** Whether what the stream tells is from before it was opened. */
  past: boolean,
  /** Rooms left out of the stream, and why. */
  refused: Map<string, Problem>,
  /** One's own: a server that keeps no data gives a new one at each start. */
  authors: Set<string>,
  rooms: Map<string, RoomState>, pending: Pending[],
}

/** A piece of a message: plain text, or what is shown by the element that `kind` names; `tokens` are the pieces in it. */
interface Token { kind: string, text: string, language?: string, marker?: string, tokens?: Token[] }
