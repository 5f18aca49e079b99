// A storm of new visitors: TOTAL connections at RATE a second, each asks once, reads the whole answer and stays for HOLD
// seconds. A response counts when it is whole and says 2xx, 429 or 503; its time runs from the moment the visitor was due,
// not from when the generator got round to it. NUMBERS (optional): the ticket cookies that came, one a
// line, into NUMBERS.0, NUMBERS.1 … of the processes.
//
//   cc -O2 -o storm storm.c
//   storm PORT TOTAL RATE(conn/s, 0 = closed loop) HOLD_S INFLIGHT PROCS PATH MODE(keep|close) TIMEOUT_S [NUMBERS]
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <sys/resource.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
static double now(){struct timespec t;clock_gettime(CLOCK_MONOTONIC,&t);return t.tv_sec+t.tv_nsec*1e-9;}
typedef struct{double t0;int st;int got;int need;}C;
typedef struct{int ok,err,tmo,refused,peak,lost; double last; float lat[120000];int nl;}R;
static int cmp(const void*a,const void*b){float x=*(float*)a,y=*(float*)b;return x<y?-1:x>y;}
int main(int ac,char**av){
 int port=atoi(av[1]),total=atoi(av[2]);double rate=atof(av[3]);double hold=atof(av[4]);int infl=atoi(av[5]),P=atoi(av[6]);char*path=av[7];int close_=!strcmp(av[8],"close");double tmo=atof(av[9]);
 struct rlimit rl;getrlimit(RLIMIT_NOFILE,&rl);rl.rlim_cur=rl.rlim_max;setrlimit(RLIMIT_NOFILE,&rl);
 R*rs=mmap(0,sizeof(R)*P,PROT_READ|PROT_WRITE,MAP_SHARED|MAP_ANONYMOUS,-1,0);
 double T0=now()+0.05;
 for(int k=0;k<P;k++)if(!fork()){
  FILE*nf=0;if(ac>10){char name[4096];snprintf(name,sizeof name,"%s.%d",av[10],k);nf=fopen(name,"w");}
  R*r=&rs[k];int n=total/P;double rt=rate/P;int ep=epoll_create1(0);C*c=calloc(rl.rlim_max+16,sizeof(C));
  char req[512];int rq=sprintf(req,"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: storm\r\nAccept: text/html\r\n%s\r\n",path,close_?"Connection: close\r\n":"");
  int started=0,open_=0,flight=0;struct epoll_event ev[512];char buf[65536];double lastscan=0;
  while(1){double t=now();
   int want=rate>0?(int)((t-T0)*rt):n; if(want>n)want=n;
   int burst=0;
   while(started<want&&flight<infl&&burst<200){
    int s=socket(AF_INET,SOCK_STREAM|SOCK_NONBLOCK,0);if(s<0){r->err++;started++;continue;}
    int one=1;setsockopt(s,IPPROTO_IP,IP_BIND_ADDRESS_NO_PORT,&one,4);setsockopt(s,IPPROTO_TCP,TCP_NODELAY,&one,4);
    struct linger lg={1,0};setsockopt(s,SOL_SOCKET,SO_LINGER,&lg,sizeof lg);
    struct sockaddr_in a={0};a.sin_family=AF_INET;a.sin_addr.s_addr=htonl(0x7f000002+(started*P+k)%50);bind(s,(void*)&a,sizeof a);
    a.sin_addr.s_addr=htonl(0x7f000001);a.sin_port=htons(port);
    c[s].t0=rate>0?T0+started/rt:now();c[s].st=0;c[s].got=0;c[s].need=0;
    int e=connect(s,(void*)&a,sizeof a);started++;burst++;
    if(e<0&&errno!=EINPROGRESS){r->refused++;close(s);continue;}
    struct epoll_event x={.events=EPOLLOUT,.data.fd=s};epoll_ctl(ep,EPOLL_CTL_ADD,s,&x);flight++;open_++;if(open_>r->peak)r->peak=open_;
   }
   int m=epoll_wait(ep,ev,512,1);t=now();
   for(int i=0;i<m;i++){int s=ev[i].data.fd;C*q=&c[s];
    if(q->st==0){int e=0;socklen_t l=4;getsockopt(s,SOL_SOCKET,SO_ERROR,&e,&l);
     if(e){r->err++;close(s);flight--;open_--;continue;}
     if(send(s,req,rq,MSG_NOSIGNAL)!=rq){r->err++;close(s);flight--;open_--;continue;}
     q->st=1;struct epoll_event x={.events=EPOLLIN,.data.fd=s};epoll_ctl(ep,EPOLL_CTL_MOD,s,&x);
    }else{int z=recv(s,buf,sizeof buf-1,0);
     if(z<=0){if(q->st==1){r->err++;flight--;}else r->lost++;close(s);open_--;continue;}
     if(q->st==1){ if(!q->need){buf[z]=0;char*h=strcasestr(buf,"content-length:");char*b=strstr(buf,"\r\n\r\n");if(strncmp(buf,"HTTP/1.1 ",9)||(buf[9]!='2'&&strncmp(buf+9,"503",3)&&strncmp(buf+9,"429",3))){r->err++;close(s);flight--;open_--;continue;}
       if(nf){char*t=strstr(buf,"gate_ticket_");if(t&&(t=strchr(t,'='))){char*e=strpbrk(t,";\r");if(e)fprintf(nf,"%.*s\n",(int)(e-t-1),t+1);}}
       if(b)q->need=(b-buf)+4+(h?atoi(h+15):0);else q->need=1;}
      q->got+=z;
      if(q->got>=q->need){r->ok++;r->last=t-T0;if(r->nl<120000)r->lat[r->nl++]=t-q->t0;flight--;q->st=2;
       if(close_){close(s);open_--;}}}
    }}
   if(t-lastscan>0.5){lastscan=t;for(unsigned s=3;s<rl.rlim_max&&open_;s++)if(c[s].t0>0&&c[s].st<2&&t-c[s].t0>tmo&&fcntl(s,F_GETFD)>=0&&s!=ep){r->tmo++;close(s);c[s].st=3;flight--;open_--;}}
   if(started>=n&&flight<=0)break;
   if(t-T0>60)break;
  }
  double te=now()+hold;while(now()<te){int m=epoll_wait(ep,ev,512,50);for(int i=0;i<m;i++){int s=ev[i].data.fd;int z=recv(s,buf,sizeof buf,0);if(z<=0){r->lost++;close(s);}}}
  if(nf)fclose(nf);
  _exit(0);}
 while(wait(0)>0);double el=0;int ok=0,err=0,tm=0,rf=0,pk=0,lost=0,nl=0;
 float*all=malloc(sizeof(float)*120000*P);
 for(int k=0;k<P;k++){R*r=&rs[k];ok+=r->ok;err+=r->err;tm+=r->tmo;rf+=r->refused;pk+=r->peak;lost+=r->lost;if(r->last>el)el=r->last;memcpy(all+nl,r->lat,sizeof(float)*r->nl);nl+=r->nl;}
 qsort(all,nl,4,cmp);struct rusage u;getrusage(RUSAGE_CHILDREN,&u);
 printf("ok=%d err=%d timeout=%d refused=%d peak_open=%d lost_in_hold=%d last_response_s=%.2f rate=%.0f/s p50=%.0fms p95=%.0fms p99=%.0fms max=%.0fms gen_cpu_us_per_conn=%.1f\n",ok,err,tm,rf,pk,lost,el,ok/el,nl?all[nl/2]*1e3:0,nl?all[(int)(nl*.95)]*1e3:0,nl?all[(int)(nl*.99)]*1e3:0,nl?all[nl-1]*1e3:0,ok?((u.ru_utime.tv_sec+u.ru_stime.tv_sec)*1e6+u.ru_utime.tv_usec+u.ru_stime.tv_usec)/ok:0);
}
