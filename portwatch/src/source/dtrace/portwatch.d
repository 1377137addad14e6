/*
 * One line for each bind(2), connect(2) and connectx(2).
 *
 * Consumer contract (stdout, TAB separated, one record per line, first field
 * is the record kind; unknown kinds must be ignored by the reader):
 *
 *   B  ver  wall_ns  dtrace_pid                      tracing is live
 *   E  ver  op  wall_ns  lat_ns  pid  ppid  tid  uid  fd  addrlen  how
 *      family  sockaddr_hex  ret  errno  execname    one attempt
 *   H  ver  wall_ns                                  heartbeat, every 5 s (optional)
 *   X  ver  wall_ns  a1  a2  a3  a4  a5              a clause faulted
 *   C  ver  op  how  count                           totals, once, at exit
 *
 * op            probe function: bind connect connect_nocancel connectx
 * wall_ns       walltimestamp at syscall entry
 * lat_ns        entry to return, monotonic
 * uid           REAL uid of the calling process
 * addrlen       the length the caller passed, uncapped
 * how           0 address not readable, 1 address pointer was NULL or length
 *               was under 2, 2 captured at entry, 3 captured at return
 * sockaddr_hex  56 digits: first 28 bytes of the caller's sockaddr in memory
 *               order, zero filled past addrlen.  Family, port, address,
 *               flowinfo and scope id are all decoded by the consumer with
 *               the layout of the operating system it runs on.
 * ret           macOS: -1 on failure.  Linux: -errno on failure.  Normalise.
 * errno         0 on success.  Negative values (Darwin ERESTART -1,
 *               EJUSTRETURN -2) are kernel internal: report them as such.
 * execname      %S form: \ooo octal, \n \t \\ \" ...; it ends with the two
 *               characters \0 (the record's terminator): drop exactly those.
 *
 * AF_UNIX and every family other than UNSPEC/INET/INET6 is not reported.
 * Everything is non-destructive.  No preprocessor (-C) is needed.
 */

#pragma D option quiet
#pragma D option strsize=64
#pragma D option bufsize=4m
#pragma D option switchrate=10hz
#pragma D option dynvarsize=8m
#pragma D option cleanrate=50hz

/* @PRELUDE-BEGIN: the launcher replaces this block for another system. */
inline int PW_AF_INET6 = 30;		/* Darwin; Linux: 10 */
inline int PW_FAM_SHIFT = 8;		/* Darwin: byte 1 (sa_len is byte 0); Linux: 0 */
/*
 * Darwin's syscall:::return hands the raw error in arg3.  The errno variable
 * holds the same number but faults (and so loses the record) in processes
 * that asked for PT_DENY_ATTACH.  Linux: errno.
 */
inline int PW_ERRNO = (int)arg3;
/* @PRELUDE-END */

inline int PW_VER = 1;
inline int PW_AF_UNSPEC = 0;
inline int PW_AF_INET = 2;
inline uint32_t PW_SA_MAX = 28;		/* sizeof (struct sockaddr_in6), both systems */

inline int HOW_UNREAD = 0;
inline int HOW_NONE = 1;
inline int HOW_ENTRY = 2;
inline int HOW_RETURN = 3;

dtrace:::BEGIN
{
	printf("B\t%d\t%d\t%d\n", PW_VER, walltimestamp, $pid);
}

/* ---- entry: remember the arguments.  Nothing here can fault. ---- */

syscall::bind:entry,
syscall::connect:entry,
syscall::connect_nocancel:entry
{
	self->fd = (int)arg0;
	self->ptr = (uint64_t)arg1;
	self->len = (uint32_t)arg2;
	self->w0 = (uint64_t)0;
	self->w1 = (uint64_t)0;
	self->w2 = (uint64_t)0;
	self->w3 = (uint32_t)0;
	self->how = (arg1 == 0 || (uint32_t)arg2 < 2) ? HOW_NONE : HOW_UNREAD;
	self->wall = walltimestamp;
	self->ts = timestamp;
}

/* @CONNECTX-BEGIN: Darwin only; the launcher drops this block elsewhere. */
/*
 * int connectx(int, const sa_endpoints_t *, ...).  LP64 layout of
 * sa_endpoints_t: srcif u32 @0, srcaddr @8, srcaddrlen u32 @16, dstaddr @24,
 * dstaddrlen u32 @32.  The first clause cannot fault, the second can.
 */
syscall::connectx:entry
{
	self->fd = (int)arg0;
	self->ptr = (uint64_t)0;
	self->len = (uint32_t)0;
	self->w0 = (uint64_t)0;
	self->w1 = (uint64_t)0;
	self->w2 = (uint64_t)0;
	self->w3 = (uint32_t)0;
	self->how = HOW_NONE;
	self->wall = walltimestamp;
	self->ts = timestamp;
}

syscall::connectx:entry
/self->ts && arg1 != 0/
{
	self->how = HOW_UNREAD;
	this->ep = (uint64_t *)copyin(arg1, 40);
	self->ptr = this->ep[3];
	self->len = (uint32_t)this->ep[4];
	self->how = (this->ep[3] == 0 || (uint32_t)this->ep[4] < 2) ?
	    HOW_NONE : HOW_UNREAD;
}
/* @CONNECTX-END */

/*
 * ---- capture.  Tried at entry (the truth about the attempt, and the only
 * chance if another thread reuses the buffer); a fault here ends this clause
 * only, how stays HOW_UNREAD, and the same capture is tried again at return,
 * when the kernel itself has touched the page. ----
 */

syscall::bind:entry,
syscall::connect:entry,
syscall::connect_nocancel:entry,
syscall::connectx:entry
/self->ts && self->how == HOW_UNREAD && self->ptr/
{
	this->n = self->len < PW_SA_MAX ? self->len : PW_SA_MAX;
	this->p = (uintptr_t)copyin(self->ptr, this->n);
	self->w0 = this->n >= 8 ? *(uint64_t *)this->p :
	    this->n >= 4 ? (uint64_t)*(uint32_t *)this->p :
	    (uint64_t)*(uint16_t *)this->p;
	self->w1 = this->n >= 16 ? *(uint64_t *)(this->p + 8) : (uint64_t)0;
	self->w2 = this->n >= 24 ? *(uint64_t *)(this->p + 16) : (uint64_t)0;
	self->w3 = this->n >= 28 ? *(uint32_t *)(this->p + 24) : (uint32_t)0;
	self->how = HOW_ENTRY;
}

syscall::bind:return,
syscall::connect:return,
syscall::connect_nocancel:return,
syscall::connectx:return
/self->ts && self->how == HOW_UNREAD && self->ptr/
{
	this->n = self->len < PW_SA_MAX ? self->len : PW_SA_MAX;
	this->p = (uintptr_t)copyin(self->ptr, this->n);
	self->w0 = this->n >= 8 ? *(uint64_t *)this->p :
	    this->n >= 4 ? (uint64_t)*(uint32_t *)this->p :
	    (uint64_t)*(uint16_t *)this->p;
	self->w1 = this->n >= 16 ? *(uint64_t *)(this->p + 8) : (uint64_t)0;
	self->w2 = this->n >= 24 ? *(uint64_t *)(this->p + 16) : (uint64_t)0;
	self->w3 = this->n >= 28 ? *(uint32_t *)(this->p + 24) : (uint32_t)0;
	self->how = HOW_RETURN;
}

/* ---- emit.  Unread and NULL addresses are reported too, as such. ---- */

syscall::bind:return,
syscall::connect:return,
syscall::connect_nocancel:return,
syscall::connectx:return
/self->ts && (self->how < HOW_ENTRY ||
    ((self->w0 >> PW_FAM_SHIFT) & 0xff) == PW_AF_INET ||
    ((self->w0 >> PW_FAM_SHIFT) & 0xff) == PW_AF_INET6 ||
    ((self->w0 >> PW_FAM_SHIFT) & 0xff) == PW_AF_UNSPEC)/
{
	printf("E\t%d\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%u\t%d\t%d\t%016x%016x%016x%08x\t%d\t%d\t%S\n",
	    PW_VER, probefunc, self->wall, timestamp - self->ts,
	    pid, ppid, tid, uid, self->fd, self->len, self->how,
	    (int)((self->w0 >> PW_FAM_SHIFT) & 0xff),
	    htonll(self->w0), htonll(self->w1), htonll(self->w2),
	    htonl(self->w3), (int)arg1, PW_ERRNO, execname);
	@total[probefunc, self->how] = count();
}

/* ---- always release the thread's state, reported or not. ---- */

syscall::bind:return,
syscall::connect:return,
syscall::connect_nocancel:return,
syscall::connectx:return
/self->ts/
{
	self->fd = 0;
	self->ptr = 0;
	self->len = 0;
	self->w0 = 0;
	self->w1 = 0;
	self->w2 = 0;
	self->w3 = 0;
	self->how = 0;
	self->wall = 0;
	self->ts = 0;
}

/* @HEARTBEAT-BEGIN: optional; the launcher drops it where profile::: is absent. */
profile:::tick-5s
{
	printf("H\t%d\t%d\n", PW_VER, walltimestamp);
}
/* @HEARTBEAT-END */

dtrace:::ERROR
{
	printf("X\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", PW_VER, walltimestamp,
	    arg1, arg2, arg3, arg4, arg5);
}

dtrace:::END
{
	printa("C\t1\t%s\t%d\t%@d\n", @total);
}
